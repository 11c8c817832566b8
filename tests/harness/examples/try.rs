fn main() {
    let until: usize = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(1);
    let mut options =
        tidegate_harness::story::Options::all("/work/main/target/debug/tidegate".into());
    options.until = until;
    let report = tidegate_harness::story::run(&options, &mut |line| println!("{line}"));
    println!("{report}");
}

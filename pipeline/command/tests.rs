//! What people read, told from one clinic whose app lane has been through everything.

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tidegate_ids::Digest;

use crate::awaited::{Awaited, Wanted, awaited};
use crate::board::board;
use crate::failure::Code;
use crate::objects::Objects;
use crate::{setup, story};

const IMAGE: &str = "registry.example.com/hospital/odoo";

fn values() -> Vec<Value> {
    serde_json::from_str(include_str!("fixtures/clinic.json")).unwrap()
}

fn objects(values: Vec<Value>) -> Objects {
    let mut objects = Objects::default();
    for value in values {
        objects.add(value).unwrap();
    }
    objects
}

fn noon() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

#[test]
fn the_board_says_what_runs_and_what_waits_for_what() {
    let board = board(&objects(values()));
    insta::assert_snapshot!(board.to_text(noon()));
}

#[test]
fn a_board_without_pipelines_says_where_to_look() {
    assert!(board(&Objects::default()).to_text(noon()).contains("name another namespace with -n"));
}

#[test]
fn promotions_tell_their_story() {
    let objects = objects(values());
    let told: Vec<String> =
        ["clinic-production-app-6", "clinic-production-app-3", "clinic-production-app-5"]
            .iter()
            .map(|name| {
                let promotion = objects.promotions.iter().find(|p| p.name_any() == *name).unwrap();
                story::promotion(promotion, &objects, noon())
            })
            .collect();
    insta::assert_snapshot!(told.join("\n==========\n"));
}

#[test]
fn releases_syncs_and_repositories_tell_their_story() {
    let objects = objects(values());
    let told = [
        story::release(objects.release("clinic-app-cccccccccc").unwrap(), &objects, noon()),
        story::sync(objects.sync("clinic-production-app").unwrap(), noon()),
        story::repository(&objects.repositories[0], noon()),
    ];
    insta::assert_snapshot!(told.join("\n==========\n"));
}

#[test]
fn a_pipeline_tells_every_effective_value_and_where_it_comes_from() {
    let objects = objects(values());
    let pipeline = &objects.pipelines[0];
    let effective =
        tidegate_schemas::effective(pipeline, &objects.environments, &objects.classes).unwrap();
    insta::assert_snapshot!(setup::pipeline(pipeline, Ok(&effective), &objects, noon()));
}

/// What becomes of the image with this digest on its way to an environment, after `change`.
fn outcome(digest: char, environment: &str, change: impl Fn(&mut Vec<Value>)) -> Awaited {
    let mut world = values();
    change(&mut world);
    let wanted = Wanted {
        repository: IMAGE.to_owned(),
        digest: format!("sha256:{}", digest.to_string().repeat(64)).parse::<Digest>().unwrap(),
        environment: environment.parse().unwrap(),
        pipeline: None,
    };
    awaited(&wanted, &objects(world))
}

fn set(world: &mut [Value], name: &str, pointer: &str, to: Value) {
    let object = world.iter_mut().find(|o| o["metadata"]["name"] == name).unwrap();
    *object.pointer_mut(pointer).unwrap() = to;
}

fn gone(world: &mut Vec<Value>, name: &str) {
    world.retain(|o| o["metadata"]["name"] != name);
}

#[track_caller]
fn ends(outcome: Awaited, code: Code, words: &str) {
    match outcome {
        Awaited::Ended(found, said) => {
            assert_eq!(found, code, "{said}");
            assert!(said.contains(words), "{said}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_image_is_applied_when_its_promotion_is_watched_or_succeeded() {
    let same = |_: &mut Vec<Value>| {};
    assert!(matches!(outcome('4', "dev", same), Awaited::Applied(w) if w.contains("Succeeded")));
    assert!(matches!(outcome('4', "staging", same), Awaited::Applied(w) if w.contains("Watching")));
    let only_held = |world: &mut Vec<Value>| {
        // Another release with the same content runs there: no promotion of its own is made.
        gone(world, "clinic-production-app-6");
        set(
            world,
            "clinic-app-dddddddddd",
            "/spec/rendered/production/manifests",
            json!(format!("sha256:{}", "b".repeat(64))),
        );
    };
    assert!(
        matches!(outcome('4', "production", only_held), Awaited::Applied(w) if w.contains("already runs there"))
    );
}

#[test]
fn an_image_that_waits_for_people_only_says_so() {
    let same = |_: &mut Vec<Value>| {};
    assert!(
        matches!(outcome('4', "production", same), Awaited::People(w) if w.contains("1 of 2 people"))
    );
    let soaking = |world: &mut Vec<Value>| {
        set(world, "clinic-production-app-6", "/status/gates/1/state", json!("Waiting"));
    };
    assert!(
        matches!(outcome('4', "production", soaking), Awaited::OnItsWay(w) if w.contains("healthy in staging"))
    );
}

#[test]
fn an_image_that_will_not_arrive_says_why() {
    let same = |_: &mut Vec<Value>| {};
    ends(outcome('e', "dev", same), Code::Refused, "no signature by a key");
    ends(outcome('3', "production", same), Code::Regressed, "crash loop");
    ends(
        outcome('1', "production", same),
        Code::Superseded,
        "clinic-app-dddddddddd took the place",
    );
    for (phase, code) in [
        ("Rejected", Code::Refused),
        ("Refused", Code::Refused),
        ("Superseded", Code::Superseded),
        ("NotApplied", Code::Failed),
    ] {
        let ended = |world: &mut Vec<Value>| {
            set(world, "clinic-production-app-6", "/status/phase", json!(phase));
        };
        ends(outcome('4', "production", ended), code, phase);
    }
    let elsewhere = |world: &mut Vec<Value>| {
        gone(world, "clinic-production-app-6");
        set(world, "clinic-staging-app-4", "/status/phase", json!("Rejected"));
    };
    ends(outcome('4', "production", elsewhere), Code::Refused, "clinic-staging-app-4");
    let unknown = |world: &mut Vec<Value>| world.clear();
    ends(outcome('4', "dev", unknown), Code::Failed, "no pipeline here follows");
    ends(outcome('4', "qa", same), Code::Failed, "has the environment qa");
}

#[test]
fn an_image_nobody_has_looked_at_yet_is_on_its_way_and_troubles_are_told() {
    let told = outcome('7', "dev", |_| {});
    let Awaited::OnItsWay(words) = told else { panic!("{told:?}") };
    assert!(
        words.contains("followed now is 17.0.4") && words.contains("did not answer"),
        "{words}"
    );
    let in_staging = |world: &mut Vec<Value>| gone(world, "clinic-production-app-6");
    assert!(
        matches!(outcome('4', "production", in_staging), Awaited::OnItsWay(w) if w.contains("in staging: Watching"))
    );
}

mod places {
    use std::collections::BTreeMap;

    use tidegate_provenance::{Ecosystem, Finding, Inventory, Package, Scan, Scanner};
    use tidegate_schemas::Severity;

    use super::*;
    use crate::whereabouts::{Contents, Question, answer, concerned};

    const CVE: &str = "CVE-2026-1234";

    fn libxml(version: &str) -> Inventory {
        let package = Package {
            name: "libxml2".to_owned(),
            version: Some(version.to_owned()),
            purl: None,
            ecosystem: Ecosystem::Deb,
        };
        Inventory { packages: [package].into() }
    }

    fn scanned(vulnerable: Option<&str>) -> Scan {
        let finding = vulnerable.map(|version| Finding {
            id: CVE.to_owned(),
            package: Some("libxml2".to_owned()),
            purl: None,
            ecosystem: Ecosystem::Deb,
            version: Some(version.to_owned()),
            fixed: vec!["2.9.14-2".to_owned()],
            severity: Severity::High,
        });
        Scan {
            scanner: Scanner {
                uri: "https://scanner.example.com".to_owned(),
                version: "1".to_owned(),
                database: None,
            },
            started: None,
            finished: noon(),
            findings: finding.into_iter().collect(),
        }
    }

    /// What runs has the flaw, what production waits for has not, and nothing is known of dev's.
    fn contents(objects: &Objects) -> BTreeMap<Digest, Contents> {
        let of = |release: &str| objects.release(release).unwrap().spec.images[0].digest;
        let known = |packages, scan| Contents { packages, scan, unreadable: Vec::new() };
        BTreeMap::from([
            (
                of("clinic-app-bbbbbbbbbb"),
                known(Some(libxml("2.9.14-1")), Some(scanned(Some("2.9.14-1")))),
            ),
            (of("clinic-app-cccccccccc"), known(Some(libxml("2.9.14-2")), Some(scanned(None)))),
        ])
    }

    fn told(question: &Question) -> String {
        let objects = objects(values());
        answer(question, &objects, &contents(&objects)).to_text(noon())
    }

    #[test]
    fn a_vulnerability_is_told_with_where_it_runs_and_what_fixes_it() {
        insta::assert_snapshot!(told(&Question::Cve(CVE.to_lowercase())));
    }

    #[test]
    fn a_package_is_found_by_name_and_by_version() {
        let package = |version: Option<&str>| Question::Package {
            name: "libxml2".to_owned(),
            version: version.map(str::to_owned),
        };
        insta::assert_snapshot!(told(&package(None)));
        assert!(!told(&package(Some("2.9.14-9"))).contains("libxml2 2.9.14"));
        assert!(told(&package(Some("2.9.14-1"))).contains("clinic-app-cccccccccc"));
    }

    #[test]
    fn a_digest_and_a_signer_need_no_statements() {
        let objects = objects(values());
        let digest = objects.release("clinic-app-bbbbbbbbbb").unwrap().spec.images[0].digest;
        let none = BTreeMap::new();
        let by_digest = answer(&Question::Digest(digest.hex()[..12].to_owned()), &objects, &none);
        assert!(!by_digest.places.is_empty() && by_digest.unknown.is_empty());
        insta::assert_snapshot!(by_digest.to_text(noon()));
        let nobody = answer(&Question::Signer("nobody-we-know".to_owned()), &objects, &none);
        assert_eq!(nobody.to_text(noon()), "It runs nowhere.\n");
    }

    #[test]
    fn what_could_not_be_looked_at_is_not_taken_for_absent() {
        let objects = objects(values());
        let none = answer(&Question::Cve(CVE.to_owned()), &objects, &BTreeMap::new());
        assert!(none.places.is_empty() && !none.unknown.is_empty());
        assert!(none.to_text(noon()).contains("not everything that runs could be looked at"));
        let mut unreadable = Contents::default();
        unreadable.unreadable.push("the registry does not answer".to_owned());
        let all = concerned(&objects).iter().map(|i| (i.digest, unreadable.clone())).collect();
        let told = answer(&Question::Cve(CVE.to_owned()), &objects, &all);
        assert!(told.unknown.iter().all(|why| why.contains("does not answer")), "{told:?}");
    }
}

/// The words of a line of a shell: parted by blanks, but not between double quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_of_the_page_on_keys_is_one() {
    use clap::Parser as _;
    let page = include_str!("../../docs/keys.md");
    let in_text = page.split('`').skip(1).step_by(2);
    let commands = page.lines().chain(in_text).map(str::trim);
    let mut seen = std::collections::BTreeSet::new();
    for command in commands.filter(|line| line.starts_with("tidegate ")) {
        let command = command.split(['|', '>']).next().unwrap();
        let words = words(command);
        if let [_, word] = words.as_slice()
            && word == "keys"
        {
            continue;
        }
        let parsed = crate::CommandLine::try_parse_from(&words);
        assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
        seen.insert(words[1..].iter().take(2).cloned().collect::<Vec<_>>().join(" "));
    }
    for command in ["keys list", "keys rotate", "keys retire"] {
        assert!(seen.contains(command), "{command} is not among {seen:?}");
    }
}

mod verifying {
    use tidegate_provenance::{Gathered, ImageRef, Rules, Subject, TrustRule, verify};

    use super::*;
    use crate::judged::{Asked, Judged};

    fn told(policies: &[(&str, Value)], tag: Option<&str>) -> String {
        let rules = policies.iter().map(|(name, spec)| {
            let spec = serde_json::from_value(spec.clone()).unwrap();
            TrustRule::from_policy(name, &spec, &Gathered::default()).unwrap()
        });
        let image = ImageRef { repository: IMAGE.to_owned(), digest: Digest::of(b"odoo") };
        let subject = Subject::from(image.clone());
        let outcome = verify(&subject, &[], &Rules::new(rules.collect()), noon());
        let asked = Asked { image, tag: tag.map(str::to_owned), index: true, attached: 0 };
        let judged = Judged::new(&asked, &outcome);
        assert_eq!(judged.may_run, outcome.verdict.passed().is_some());
        judged.to_text()
    }

    fn asks() -> Value {
        let pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEiTV/v9gRSamJAam2y0rRJWAGd8cz\nnvdvhZtazZMqygvKL9xiEbLg5xoXalgIrraO9F1/8qpmaTuB7tVXm7tMpw==\n-----END PUBLIC KEY-----\n";
        json!({
            "images": ["registry.example.com/hospital/*"],
            "require": [{"anyOf": [{"key": {"pem": pem, "log": "none"}}]}],
            "attestations": [{"sbom": {"minPackages": 20}},
                {"vulnerabilities": {"maxAge": "7d", "maxSeverity": "Medium"}}],
        })
    }

    #[test]
    fn each_rule_that_is_not_satisfied_is_told_with_the_way_out() {
        insta::assert_snapshot!(told(&[("hospital-images", asks())], Some("17.0.3")));
    }

    #[test]
    fn an_image_that_runs_by_an_exception_says_whose() {
        let mut spec = asks();
        spec["static"] = json!([{"digest": Digest::of(b"odoo"), "owner": "ann",
            "approvedBy": "joe", "reason": "the vendor signs from March on",
            "expires": "2027-03-01T00:00:00Z"}]);
        insta::assert_snapshot!(told(&[("hospital-images", spec)], None));
    }

    #[test]
    fn an_image_that_no_policy_names_is_told_so() {
        let other = json!({"images": ["registry.example.com/other"], "static": [{
            "digest": Digest::of(b"x"), "owner": "ann", "approvedBy": "joe", "reason": "r",
            "expires": "2027-03-01T00:00:00Z"}]});
        insta::assert_snapshot!(told(&[("other", other)], None));
    }
}

mod examples {
    use tidegate_provenance::{Gathered, Needed, TrustRule};
    use tidegate_schemas::TrustPolicy;

    use super::*;

    const PAGE: &str = include_str!("../../docs/provenance.md");

    fn yaml() -> Vec<Value> {
        let blocks = PAGE.split("```yaml\n").skip(1);
        let blocks = blocks.map(|rest| rest.split("```").next().unwrap());
        let documents =
            blocks.flat_map(|b| tidegate_manifest::documents(b.as_bytes(), "the page").unwrap());
        documents.collect()
    }

    /// Whether a kind reads back as it is written: a misspelt field would be lost.
    fn same<K: serde::de::DeserializeOwned + serde::Serialize>(value: &Value) -> K {
        let read: K = serde_json::from_value(value.clone()).unwrap();
        let back = serde_json::to_value(&read).unwrap();
        let patch = serde_json::to_string(&value["spec"]).unwrap();
        contains(&back["spec"], &value["spec"]).unwrap_or_else(|at| panic!("{at} in {patch}"));
        read
    }

    fn contains(all: &Value, part: &Value) -> Result<(), String> {
        match (all, part) {
            (Value::Object(all), Value::Object(part)) => {
                part.iter().try_for_each(|(name, value)| {
                    let there = all.get(name).ok_or_else(|| format!("{name} is no field"))?;
                    contains(there, value)
                })
            }
            (Value::Array(all), Value::Array(part)) => {
                all.iter().zip(part).try_for_each(|(all, part)| contains(all, part))
            }
            _ => Ok(()),
        }
    }

    #[test]
    fn every_policy_of_the_page_can_be_applied() {
        let mut policies = 0;
        for value in yaml() {
            if value["kind"] == "Pipeline" {
                let _pipeline: tidegate_schemas::Pipeline = same(&value);
                continue;
            }
            let policy: TrustPolicy = same(&value);
            let needed = Needed::by(&policy.spec);
            let pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEiTV/v9gRSamJAam2y0rRJWAGd8cz\nnvdvhZtazZMqygvKL9xiEbLg5xoXalgIrraO9F1/8qpmaTuB7tVXm7tMpw==\n-----END PUBLIC KEY-----\n";
            let other = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\nq9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n-----END PUBLIC KEY-----\n";
            let root = include_str!("../provenance/tests/fixtures/cosign/trusted_root.json");
            let keys = needed.secrets.into_iter().zip([pem, other].map(str::to_owned));
            let roots = needed.config_maps.into_iter().map(|name| (name, root.to_owned()));
            let materials = Gathered { secrets: keys.collect(), config_maps: roots.collect() };
            TrustRule::from_policy(&policy.name_any(), &policy.spec, &materials).unwrap();
            policies += 1;
        }
        assert_eq!(policies, 7);
    }
}

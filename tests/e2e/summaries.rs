//! Verification summaries, made by the real service and read by the real cosign: one for each
//! environment, chained; one key is in a Secret, the other never leaves its token.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_harness::Lab;
use tidegate_harness::story::{Cluster, condition, until};

use crate::ward::{Plan, Ward, hospital};

const PATIENCE: Duration = Duration::from_mins(2);
const TYPE: &str = "https://slsa.dev/verification_summary/v1";
const PIN: &str = "1234";

/// Makes a token with a key, as a hoster does with the token's own tools.
fn token(lab: &Lab, label: &str, key: &str) {
    let pem = lab.folder().join(format!("{key}.pem"));
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env("SOFTHSM2_CONF", lab.folder().join("softhsm2.conf"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let (so, file) = ("12345678", pem.to_str().unwrap());
    run("openssl", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", file]);
    run("openssl", &["pkcs8", "-topk8", "-nocrypt", "-in", file, "-out", &format!("{file}8")]);
    let pin = ["--pin", PIN];
    run(
        "softhsm2-util",
        &[&["--init-token", "--free", "--label", label, "--so-pin", so][..], &pin].concat(),
    );
    let pkcs8 = format!("{file}8");
    let import = ["--import", &pkcs8, "--token", label, "--label", key, "--id", "01"];
    run("softhsm2-util", &[&import[..], &pin].concat());
    std::fs::remove_file(&pem).unwrap();
    std::fs::remove_file(pkcs8).unwrap();
}

fn cosign(lab: &Lab, arguments: &[&str]) -> Output {
    let mut command = Command::new(&lab.binaries().cosign);
    command.args(arguments).env("HOME", lab.folder()).current_dir(lab.folder());
    command.output().unwrap()
}

/// What cosign accepts as a summary of an image by this key; its statement.
fn accepted(lab: &Lab, image: &str, key: &Path) -> Result<Value, String> {
    let output = cosign(
        lab,
        &[
            "verify-attestation",
            "--insecure-ignore-tlog",
            "--allow-http-registry",
            "--key",
            key.to_str().unwrap(),
            "--type",
            TYPE,
            image,
        ],
    );
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let line = output.stdout.split(|byte| *byte == b'\n').find(|line| !line.is_empty()).unwrap();
    let envelope: Value = serde_json::from_slice(line).unwrap();
    let payload = decoded(envelope["payload"].as_str().unwrap());
    Ok(serde_json::from_slice(&payload).unwrap())
}

/// Base64 by the system's own tool: the test believes nothing of what it tests.
fn decoded(text: &str) -> Vec<u8> {
    let mut child = Command::new("base64")
        .arg("--decode")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}

fn deployment(image: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      automountServiceAccountToken: false
      securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: web
        image: {image}
        resources: {{requests: {{cpu: 10m, memory: 16Mi}}, limits: {{memory: 32Mi}}}}
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
"
    )
}

struct Scene {
    ward: Ward,
    image: String,
    repository: String,
}

/// A registry that may be read only, before that of the lab; it serves as long as the test runs.
fn read_only(registry: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, registry) = (client.unwrap(), registry.clone());
            std::thread::spawn(move || serve(client, &registry));
        }
    });
    address
}

/// One request; the connection ends with it.
fn serve(mut client: TcpStream, registry: &str) {
    let mut head = String::new();
    let mut lines = BufReader::new(client.try_clone().unwrap());
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    if !head.starts_with("GET ") && !head.starts_with("HEAD ") {
        let refusal =
            "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        client.write_all(refusal.as_bytes()).unwrap();
        return;
    }
    let kept =
        head.trim_end().lines().filter(|line| !line.to_lowercase().starts_with("connection:"));
    let head: String = kept.flat_map(|line| [line, "\r\n"]).collect();
    let mut upstream = TcpStream::connect(registry).unwrap();
    upstream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).unwrap();
    let _ended = std::io::copy(&mut upstream, &mut client);
}

#[test]
fn a_registry_that_takes_nothing_stops_nothing_and_is_told() {
    let lab = &hospital().lab;
    let repository = format!("{}/readonly/web", read_only(lab.registry().to_owned()));
    let key = lab.cosign_key("readonly").unwrap();
    let digest = lab.push_image("readonly/web", "1.0.0", "first", &[]).unwrap();
    lab.sign(&format!("{}/readonly/web@{digest}", lab.registry()), &key).unwrap();
    trust("readonly", &repository, &key.public_pem);
    let ward = Ward::plan(&Plan {
        name: "readonly",
        pipeline: json!({
            "images": [{"repository": repository, "follow": {"semver": "1"}, "lane": "app"}],
        }),
        passwords: None,
    });
    ward.commit(&[("dev/app/web.yaml", &deployment(&repository))]);
    let path = "/apis/apps/v1/namespaces/readonly-dev/deployments/web";
    until("the image runs", PATIENCE, || {
        let pipeline = ward.object("pipelines", "readonly");
        let found = ward.cluster.find(path)?;
        Ok(found.map(drop).ok_or_else(|| pipeline["status"]["conditions"].to_string()))
    })
    .unwrap();
    ward.says("pipelines", "readonly", "Summaries", &["kept in Git only", "405"]);
    let (path, bundle) = kept(&ward, "dev", &digest);
    assert!(bundle.contains("dsseEnvelope"));
    let note = until("the note is in Git", PATIENCE, || {
        let note =
            ward.git(&["show", &format!("refs/tidegate/summaries/readonly/dev:{path}.registry")]);
        Ok(note.ok_or_else(|| "no note yet".to_owned()))
    })
    .unwrap();
    assert!(note.starts_with("kept in Git only: "), "{note}");
}

/// Images of this repository must be signed by this key.
fn trust(name: &str, repository: &str, pem: &str) {
    let cluster = Cluster::open(&hospital().lab.kubeconfig()).unwrap();
    cluster
        .apply(&json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "TrustPolicy",
            "metadata": {"name": name},
            "spec": {
                "images": [repository],
                "require": [{"anyOf": [{"key": {"pem": pem, "log": "none"}}]}],
            },
        }))
        .unwrap();
}

/// A pipeline with two environments whose images a key must have signed.
fn scene() -> Scene {
    let lab = &hospital().lab;
    let cluster = Cluster::open(&lab.kubeconfig()).unwrap();
    cluster
        .apply(&json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "EnvironmentClass",
            "metadata": {"name": "staging"},
            "spec": {"lanes": {"*": {"watch": {"for": "1s"}, "deadline": "30s"}}},
        }))
        .unwrap();
    token(lab, "hospital", "staging");
    let pin = |pin: &str| {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": "tidegate-signing-summaries-staging", "namespace": "tidegate-system",
            },
            "stringData": {"pkcs11": "pkcs11:token=hospital;object=staging", "pin": pin},
        });
        cluster.apply(&secret).unwrap();
    };
    pin("9999");
    let repository = format!("{}/summaries/web", lab.registry());
    let key = lab.cosign_key("summaries").unwrap();
    trust("summaries", &repository, &key.public_pem);
    let digest = lab.push_image("summaries/web", "1.0.0", "first", &[]).unwrap();
    let image = format!("{repository}@{digest}");
    lab.sign(&image, &key).unwrap();
    let ward = Ward::plan(&Plan {
        name: "summaries",
        pipeline: json!({
            "environments": ["dev", "staging"],
            "images": [{"repository": repository, "follow": {"semver": "1"}, "lane": "app"}],
        }),
        passwords: None,
    });
    let text = deployment(&repository);
    let account = crate::ward::ACCOUNT;
    ward.commit(&[
        ("dev/app/web.yaml", &text),
        ("staging/app/web.yaml", &text),
        ("staging/security/nurse.yaml", account),
    ]);
    // Without its key staging has no Sync; nothing is lost when the right PIN comes.
    ward.says("pipelines", "summaries", "Delivery", &["token hospital", "PIN"]);
    pin(PIN);
    Scene { ward, image, repository }
}

/// The public key of an environment, as an auditor gets it.
fn public_key(ward: &Ward, environment: &str) -> std::path::PathBuf {
    let pem = ward.tidegate(&["keys", "list", "--env", environment, "-o", "pem"]);
    let path = hospital().lab.folder().join(format!("{}-{environment}.pub", ward.name));
    std::fs::write(&path, pem).unwrap();
    path
}

/// Waits until cosign accepts a summary with this outcome.
fn summary(scene: &Scene, image: &str, environment: &str, outcome: &str) -> Value {
    let lab = &hospital().lab;
    let what = format!("cosign accepts the {outcome} summary of {environment}");
    let sync = format!("summaries-{environment}-app");
    until("the Sync states the key", PATIENCE, || {
        let path = scene.ward.path("syncs", &sync);
        let pipeline = scene.ward.object("pipelines", "summaries");
        let found = scene.ward.cluster.find(&path)?.map(drop);
        Ok(found.ok_or_else(|| pipeline["status"]["conditions"].to_string()))
    })
    .unwrap();
    until(&what, PATIENCE, || {
        let key = public_key(&scene.ward, environment);
        let pipeline = scene.ward.object("pipelines", "summaries");
        Ok(match accepted(lab, image, &key) {
            Ok(told) if told["predicate"]["verificationResult"] == outcome => Ok(told),
            Ok(told) => Err(told["predicate"]["verificationResult"].to_string()),
            Err(why) => Err(format!("{why}; {}", pipeline["status"]["conditions"])),
        })
    })
    .unwrap()
}

/// The bundle that Git has of an image in an environment: its path and bytes.
fn kept(ward: &Ward, environment: &str, digest: &str) -> (String, String) {
    let reference = format!("refs/tidegate/summaries/{}/{environment}", ward.name);
    let folder = format!("{}/", digest.strip_prefix("sha256:").unwrap());
    let names = ward.git(&["ls-tree", "--name-only", &reference, &folder]).unwrap();
    let mut bundles = names.lines().filter(|name| name.ends_with(".sigstore.json"));
    let path = bundles.next().unwrap().to_owned();
    assert_eq!(bundles.next(), None, "one summary for each finding");
    let content = ward.git(&["show", &format!("{reference}:{path}")]).unwrap();
    (path, content)
}

#[test]
fn public_tools_accept_a_summary_for_each_environment_and_the_chain_they_are() {
    let scene = scene();
    let Scene { ward, image, repository } = &scene;
    let lab = &hospital().lab;
    let digest = image.split_once('@').unwrap().1;

    let dev = summary(&scene, image, "dev", "PASSED");
    let staging = summary(&scene, image, "staging", "PASSED");
    let predicate = &staging["predicate"];
    let cluster = &predicate["https://tidegate.dev/verification_summary/v1"]["cluster"];
    // What slsa-verifier verify-vsa compares: subject, verifier, resource, outcome and levels.
    assert_eq!(staging["subject"][0]["digest"]["sha256"], json!(&digest[7..]));
    let verifier =
        format!("https://tidegate.dev/verifiers/{}/summaries/staging", cluster.as_str().unwrap());
    assert_eq!(predicate["verifier"]["id"], json!(verifier));
    assert_eq!(predicate["resourceUri"], json!(format!("oci://{repository}?environment=staging")));
    assert_eq!(predicate["verifiedLevels"], json!(["SLSA_BUILD_LEVEL_0"]));
    assert!(ward.tidegate(&["keys", "list"]).contains(&verifier));

    // The chain: staging's names dev's by the digest of its bundle.
    let (_, bundle) = kept(ward, "dev", digest);
    let of_dev = tidegate_ids::Digest::of(bundle.as_bytes());
    let inputs = |told: &Value| told["predicate"]["inputAttestations"].to_string();
    assert!(inputs(&staging).contains(&of_dev.hex()), "{}", inputs(&staging));
    assert!(!inputs(&dev).contains(&of_dev.hex()));

    // A summary of dev is none of staging, and one changed byte ends it.
    let (dev_key, staging_key) = (public_key(ward, "dev"), public_key(ward, "staging"));
    let checked = |bundle: &str, key: &Path| {
        let path = lab.folder().join("summary.json");
        std::fs::write(&path, bundle).unwrap();
        let arguments = [
            "verify-blob-attestation",
            "--insecure-ignore-tlog",
            "--key",
            key.to_str().unwrap(),
            "--type",
            TYPE,
            "--digest",
            &digest[7..],
            "--digestAlg",
            "sha256",
            "--bundle",
            path.to_str().unwrap(),
        ];
        let output = cosign(lab, &arguments);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (good, why) = checked(&bundle, &dev_key);
    assert!(good, "{why}");
    assert!(!checked(&bundle, &staging_key).0);
    let at = bundle.find("\"payload\":\"").unwrap() + 200;
    let mut changed = bundle.clone().into_bytes();
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    assert!(!checked(&String::from_utf8(changed).unwrap(), &dev_key).0);

    the_same_key_signed_the_deploy_commit(&scene);
    what_is_refused_has_its_summary(&scene);
}

/// The key in the token signed the commit, and Git's own tool says so.
fn the_same_key_signed_the_deploy_commit(scene: &Scene) {
    let lines = scene.ward.tidegate(&["keys", "list", "--env", "staging", "-o", "ssh"]);
    let key = lines.lines().find(|line| line.starts_with("ecdsa-sha2-nistp256 ")).unwrap();
    let allowed = hospital().lab.folder().join("allowed");
    std::fs::write(&allowed, format!("tidegate@tidegate.dev {key}\n")).unwrap();
    let file = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
    let branch = "deploy/summaries/staging/app";
    let checked = scene.ward.git(&["-c", &file, "verify-commit", branch]);
    assert!(checked.is_some(), "git does not accept the signature of {branch}");
}

fn what_is_refused_has_its_summary(scene: &Scene) {
    let lab = &hospital().lab;
    let digest = lab.push_image("summaries/web", "1.1.0", "unsigned", &[]).unwrap();
    let image = format!("{}@{digest}", scene.repository);
    let told = summary(scene, &image, "dev", "FAILED");
    let predicate = &told["predicate"];
    assert_eq!(predicate["verifiedLevels"], json!(["FAILED"]));
    let reasons = &predicate["https://tidegate.dev/verification_summary/v1"]["reasons"];
    assert!(reasons[0].as_str().is_some_and(|reason| !reason.is_empty()), "{reasons}");
    let (path, _) = kept(&scene.ward, "dev", &digest);
    let note = format!("refs/tidegate/summaries/summaries/dev:{path}.registry");
    let told = until("Git says where the summary is", PATIENCE, || {
        Ok(scene.ward.git(&["show", &note]).ok_or_else(|| "no note yet".to_owned()))
    })
    .unwrap();
    assert!(told.starts_with("beside the image as sha256:"), "{told}");
    let pipeline = scene.ward.object("pipelines", "summaries");
    assert_eq!(condition(&pipeline, "Summaries").0, "True");
}

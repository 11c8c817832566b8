//! Putting things beside an image, on a registry that keeps what it is given but knows no
//! referrers: its answer to a manifest has no `OCI-Subject`, and it has no referrers API.

use super::attached::bundles;
use super::*;

/// What the registry does beyond keeping things.
#[derive(Clone, Copy, PartialEq)]
enum Habit {
    Plain,
    /// Sends uploads to another host.
    SendsAway,
    /// Somebody else overwrites the first list under a tag, as if ours had not been there.
    LosesTheFirstList,
    /// Nothing that is written under a tag stays.
    KeepsNoTag,
}

/// Path to content; manifests are under their digest and their tag.
type Kept = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

struct Keeping {
    address: String,
    kept: Kept,
}

const OTHERS: &str = r#"{"digest":"sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03","mediaType":"text/plain","size":6,"x-other":[1,{"b":2}]}"#;

impl Keeping {
    async fn start(habit: Habit) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let kept = Kept::default();
        let this = Self { address, kept: Arc::clone(&kept) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(keep(stream, Arc::clone(&kept), habit));
            }
        });
        this
    }

    fn image(&self) -> Digest {
        let image = br#"{"layers":[]}"#;
        let digest = Digest::of(image);
        self.kept.lock().unwrap().insert(format!("manifests/{digest}"), image.into());
        digest
    }

    fn repository(&self) -> Repository {
        let name = format!("{}/hospital/odoo", self.address).parse().unwrap();
        Registry::new(LOOPBACK).unwrap().repository(name)
    }

    fn list(&self, image: Digest) -> Option<String> {
        let kept = self.kept.lock().unwrap();
        let list = kept.get(&format!("manifests/sha256-{}", image.hex()))?;
        Some(String::from_utf8(list.clone()).unwrap())
    }
}

async fn keep(mut stream: TcpStream, kept: Kept, habit: Habit) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut words = head.split(' ');
    let (method, path) = (words.next()?, words.next()?.strip_prefix("/v2/hospital/odoo/")?);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap_or("0").parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    let (mut more, mut said) = (String::new(), Vec::new());
    let status = match method {
        "POST" => {
            let host = if habit == Habit::SendsAway { "http://127.0.0.1:1" } else { "" };
            more = format!("location: {host}/v2/hospital/odoo/blobs/uploads/1?state=a%2Fb\r\n");
            202
        }
        "PUT" if path.starts_with("blobs/uploads/1?state=a%2Fb&digest=") => {
            kept.lock().unwrap().insert(format!("blobs/{}", Digest::of(&body)), body);
            201
        }
        "PUT" => {
            let tag = path.contains("sha256-");
            let mut kept = kept.lock().unwrap();
            kept.insert(format!("manifests/{}", Digest::of(&body)), body.clone());
            let before = kept.get("lost").is_some();
            if tag && habit == Habit::LosesTheFirstList && !before {
                kept.insert("lost".into(), Vec::new());
                body = format!(r#"{{"manifests":[{OTHERS}]}}"#).into_bytes();
            }
            if !(tag && habit == Habit::KeepsNoTag) {
                kept.insert(path.to_owned(), body);
            }
            201
        }
        _ => match kept.lock().unwrap().get(path) {
            Some(content) => {
                said.clone_from(content);
                200
            }
            None => 404,
        },
    };
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{more}\r\n",
        said.len()
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    if method == "HEAD" {
        return Some(());
    }
    stream.write_all(&said).await.ok()
}

fn summary(text: &str) -> Referrer {
    let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
    Referrer {
        artifact_type: bundle.to_owned(),
        annotations: BTreeMap::from([("predicate".to_owned(), "vsa".to_owned())]),
        media_type: bundle.to_owned(),
        content: text.into(),
    }
}

#[tokio::test]
async fn what_is_pushed_is_found_beside_the_image_and_pushing_it_again_changes_nothing() {
    let registry = Keeping::start(Habit::Plain).await;
    let (image, repository) = (registry.image(), registry.repository());
    let first = repository.push_referrer(image, &summary("one")).await.unwrap();
    let second = repository.push_referrer(image, &summary("two")).await.unwrap();
    let before = registry.kept.lock().unwrap().clone();
    assert_eq!(repository.push_referrer(image, &summary("one")).await.unwrap(), first);
    assert_eq!(*registry.kept.lock().unwrap(), before);
    let listed = repository.referrers(image, None).await.unwrap();
    let mut expected = vec![first, second];
    expected.sort();
    assert_eq!(listed.iter().map(|one| one.digest).collect::<Vec<_>>(), expected);
    assert_eq!(listed[0].annotations["predicate"], "vsa");
    assert_eq!(bundles(&repository.attached(image).await.unwrap()).len(), 2);
}

#[tokio::test]
async fn entries_of_others_stay_in_the_list_and_ours_comes_back_when_it_was_lost() {
    let registry = Keeping::start(Habit::LosesTheFirstList).await;
    let (image, repository) = (registry.image(), registry.repository());
    let ours = repository.push_referrer(image, &summary("one")).await.unwrap();
    let list = registry.list(image).unwrap();
    assert!(list.contains(&ours.to_string()) && list.contains(OTHERS), "{list}");
}

#[tokio::test]
async fn two_that_are_pushed_at_once_are_both_listed() {
    let registry = Keeping::start(Habit::Plain).await;
    let (image, repository) = (registry.image(), registry.repository());
    let (one, two) = (summary("one"), summary("two"));
    let (one, two) =
        tokio::join!(repository.push_referrer(image, &one), repository.push_referrer(image, &two));
    let list = registry.list(image).unwrap();
    assert!([one, two].into_iter().all(|digest| list.contains(&digest.unwrap().to_string())));
}

#[tokio::test]
async fn a_push_that_does_not_hold_is_an_error() {
    let registry = Keeping::start(Habit::KeepsNoTag).await;
    let error = registry.repository().push_referrer(registry.image(), &summary("one")).await;
    assert!(error.unwrap_err().to_string().contains("does not stay"));
    // Content and credentials go to no other host.
    let registry = Keeping::start(Habit::SendsAway).await;
    let error = registry.repository().push_referrer(registry.image(), &summary("one")).await;
    assert!(error.unwrap_err().to_string().contains("the same registry"));
    // An image that is not there, and a tag that is somebody's image.
    let registry = Keeping::start(Habit::Plain).await;
    let (image, repository) = (registry.image(), registry.repository());
    let error = repository.push_referrer(Digest::of(b"absent"), &summary("one")).await;
    assert!(matches!(error, Err(Error::NotFound { .. })));
    let tag = format!("manifests/sha256-{}", image.hex());
    registry.kept.lock().unwrap().insert(tag, br#"{"layers":[]}"#.into());
    let error = repository.push_referrer(image, &summary("one")).await.unwrap_err();
    assert!(error.to_string().contains("is not an index"), "{error}");
    assert_eq!(registry.list(image).unwrap(), r#"{"layers":[]}"#);
}

//! Aliases and mirrors: where a repository is asked for, with which credentials, and what may be
//! passed over.

use super::*;

async fn three() -> (StandIn, StandIn, StandIn) {
    (StandIn::start().await, StandIn::start().await, StandIn::start().await)
}

fn options(origin: &StandIn, mirrors: &[&StandIn], aliases: &[&StandIn]) -> Options {
    let to = |places: &[&StandIn]| -> Vec<Mirror> {
        let one = |place: &&StandIn| format!("{}={}/cache", origin.address, place.address);
        places.iter().map(|place| one(place).parse().unwrap()).collect()
    };
    Options { mirrors: to(mirrors), aliases: to(aliases), ..LOOPBACK }
}

fn odoo(origin: &StandIn, options: Options) -> Repository {
    let name = format!("{}/hospital/odoo", origin.address).parse().unwrap();
    Registry::new(options).unwrap().repository(name)
}

fn blob(digest: Digest) -> (String, String) {
    (path(&format!("blobs/{digest}")), format!("/v2/cache/hospital/odoo/blobs/{digest}"))
}

#[tokio::test]
async fn mirrors_are_asked_in_order_and_the_registry_last() {
    let (origin, first, second) = three().await;
    let digest = Digest::of(b"odoo");
    let (own, cached) = blob(digest);
    let repository = odoo(&origin, options(&origin, &[&first, &second], &[]));
    origin.says(&own, ok("odoo"));
    // The first lacks it, the second is down.
    second.says(&cached, Says::Body(503, Vec::new(), Vec::new()));
    assert_eq!(repository.blob(digest, 100).await.unwrap(), b"odoo");
    assert_eq!((first.asked().len(), second.asked().len(), origin.asked().len()), (1, 2, 1));
    second.says(&cached, ok("odoo"));
    assert_eq!(repository.blob(digest, 100).await.unwrap(), b"odoo");
    first.says(&cached, Says::BreaksOff);
    assert_eq!(repository.blob(digest, 100).await.unwrap(), b"odoo");
    assert_eq!(origin.asked().len(), 1, "the registry was asked although a mirror has it");
    // Names stay what they are.
    assert_eq!(repository.name().to_string(), format!("{}/hospital/odoo", origin.address));
}

#[tokio::test]
async fn a_mirror_that_refuses_or_lies_is_told() {
    let (origin, mirror, _) = three().await;
    let digest = Digest::of(b"odoo");
    let (own, cached) = blob(digest);
    origin.says(&own, ok("odoo"));
    let repository = odoo(&origin, options(&origin, &[&mirror], &[]));
    for status in [401, 403] {
        mirror.says(&cached, Says::Body(status, Vec::new(), Vec::new()));
        let error = repository.blob(digest, 100).await.unwrap_err();
        assert!(
            matches!(&error, Error::Unauthorized { host, .. } if *host == mirror.address),
            "{error}"
        );
    }
    mirror.says(&cached, ok("not odoo"));
    let error = repository.blob(digest, 100).await.unwrap_err();
    assert!(
        matches!(&error, Error::DigestMismatch { host, .. } if *host == mirror.address),
        "{error}"
    );
    mirror.says(&cached, ok("x".repeat(101)));
    let error = repository.blob(digest, 100).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert!(origin.asked().is_empty());
}

#[tokio::test]
async fn what_is_nowhere_is_told_by_the_registry() {
    let (origin, mirror, _) = three().await;
    let digest = Digest::of(b"odoo");
    let repository = odoo(&origin, options(&origin, &[&mirror], &[]));
    let error = repository.blob(digest, 100).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { host, .. } if *host == origin.address), "{error}");
    // That a mirror has none does not say that there is none.
    origin.says(blob(digest).0, Says::Body(503, Vec::new(), Vec::new()));
    let error = repository.blob(digest, 100).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { status: 503, .. }), "{error}");
}

#[tokio::test]
async fn an_alias_is_asked_alone() {
    let (origin, alias, _) = three().await;
    let digest = Digest::of(b"odoo");
    let (own, cached) = blob(digest);
    let repository = odoo(&origin, options(&origin, &[], &[&alias]));
    origin.says(&own, ok("odoo"));
    let error = repository.blob(digest, 100).await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { host, .. } if *host == alias.address), "{error}");
    alias.says(&cached, ok("odoo"));
    assert_eq!(repository.blob(digest, 100).await.unwrap(), b"odoo");
    assert!(origin.asked().is_empty());
}

#[tokio::test]
async fn each_place_gets_its_own_credentials() {
    let (origin, mirror, _) = three().await;
    let digest = Digest::of(b"odoo");
    let (own, cached) = blob(digest);
    let guarded = |wants: &str, body: &[u8]| Says::Guarded {
        challenge: r#"Basic realm="x""#.to_owned(),
        wants: wants.to_owned(),
        body: body.to_vec(),
    };
    origin.says(&own, guarded("Basic b3JpZ2luOm8=", b"odoo"));
    mirror.says(&cached, guarded("Basic bWlycm9yOm0=", b"odoo"));
    let user = |user: &str, password: &str| Credentials::Basic {
        user: user.to_owned(),
        password: password.to_owned(),
    };
    let keychain = Keychain::default()
        .with(&origin.address, user("origin", "o"))
        .with(&format!("{}/cache", mirror.address), user("mirror", "m"));
    let name = format!("{}/hospital/odoo", origin.address).parse().unwrap();
    let registry = Registry::new(options(&origin, &[&mirror], &[])).unwrap();
    let repository = registry.with_keychain(keychain).repository(name);
    assert_eq!(repository.blob(digest, 100).await.unwrap(), b"odoo");
    mirror.says(&cached, Says::Body(404, Vec::new(), Vec::new()));
    assert_eq!(repository.blob(digest, 100).await.unwrap(), b"odoo");
    let shown = |place: &StandIn| -> Vec<_> {
        place.asked().into_iter().filter_map(|(_, shown)| shown).collect()
    };
    assert_eq!(shown(&origin), ["Basic b3JpZ2luOm8="]);
    assert!(shown(&mirror).iter().all(|shown| shown == "Basic bWlycm9yOm0="));
}

#[tokio::test]
async fn the_next_page_of_a_mirrors_list_is_asked_there() {
    let (origin, mirror, _) = three().await;
    let next = "/v2/cache/hospital/odoo/tags/list?n=1000&last=a";
    let link = vec![("link", format!("<{next}>; rel=\"next\""))];
    let page = br#"{"tags":["a"]}"#.to_vec();
    mirror.says("/v2/cache/hospital/odoo/tags/list?n=1000", Says::Body(200, link, page));
    mirror.says(next, ok(r#"{"tags":["b"]}"#));
    let repository = odoo(&origin, options(&origin, &[&mirror], &[]));
    assert_eq!(repository.tags().await.unwrap(), ["a", "b"]);
    // Half a list of one place and half of another would be none.
    mirror.says(next, Says::Body(404, Vec::new(), Vec::new()));
    let error = repository.tags().await.unwrap_err();
    assert!(matches!(&error, Error::NotFound { host, .. } if *host == mirror.address), "{error}");
    assert!(origin.asked().is_empty());
}

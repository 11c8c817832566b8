//! Paths inside a repository.
//!
//! A path is a list of plain names from the root. Whatever could lead elsewhere
//! (`..`, an absolute path, an empty name, NUL) is refused before Git sees it:
//! Argo CD's CVE-2022-24348 and Flux's CVE-2022-24877 were such paths.

use crate::Error;

/// The names of a path from the root; `""`, `"."` and `"./"` are the root itself.
pub(crate) fn names(path: &str) -> Result<Vec<&str>, Error> {
    let refuse = |why| Err(Error::Path { path: path.chars().take(300).collect(), why });
    if path.starts_with('/') {
        return refuse(
            "it is absolute; write it from the repository's root, without a leading slash",
        );
    }
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    if trimmed.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = trimmed.split('/').filter(|name| *name != ".").collect();
    if names.contains(&"..") {
        return refuse("it leads upwards with \"..\"; write it from the repository's root");
    }
    if names.iter().any(|name| !is_name(name)) {
        return refuse("it has an empty name or a control character in it");
    }
    Ok(names)
}

/// Whether this can be the name of a file or folder.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && !name.contains('/')
        && !name.chars().any(char::is_control)
}

/// The path of `name` in `folder`, where the root is the empty text.
pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_inside_the_repository() {
        let cases: &[(&str, Option<&[&str]>)] = &[
            ("", Some(&[])),
            (".", Some(&[])),
            ("./", Some(&[])),
            ("apps/shop", Some(&["apps", "shop"])),
            ("./apps/shop/", Some(&["apps", "shop"])),
            ("apps/..shop", Some(&["apps", "..shop"])),
            ("/etc/passwd", None),
            ("..", None),
            ("apps/../../etc", None),
            ("apps//shop", None),
            ("apps/\0", None),
        ];
        for (path, expected) in cases {
            assert_eq!(names(path).ok().as_deref(), *expected, "{path:?}");
        }
    }
}

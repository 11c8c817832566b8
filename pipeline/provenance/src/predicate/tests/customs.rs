//! Expressions over any statement.

use super::*;

fn custom(rule: &str) -> Value {
    json!({"custom": {"name": "review", "type": "https://hospital.example/review", "rule": rule}})
}

fn reviewed(rule: &str, predicate: Value) -> Result<Accepted, Vec<String>> {
    judged(custom(rule), "https://hospital.example/review", predicate)
}

#[test]
fn only_true_is_true() {
    let predicate =
        json!({"reviewers": [{"name": "jane", "age": 3}, {"name": "joe", "age": 1}], "risk": 2.5});
    for rule in [
        "predicate.reviewers.size() == 2",
        "predicate.reviewers[0].age > 2 && predicate.risk < 3.0",
        "predicate.reviewers.exists(r, r.name == 'jane')",
        "subject.name == 'ghcr.io/hospital/odoo' && subject.digest.startsWith('sha256:')",
        "!has(predicate.waiver)",
    ] {
        reviewed(rule, predicate.clone()).unwrap();
    }
    let cases = [
        "false",
        "1",
        "'true'",
        "predicate.nobody",
        "unknown",
        "predicate.reviewers[9]",
        "1 / 0 == 1",
        "nosuch(1)",
    ];
    let said = cases.map(|rule| reviewed(rule, predicate.clone()).unwrap_err().join("\n"));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_rule_that_is_no_expression_breaks_the_policy_with_its_place() {
    assert!(
        broken(custom("predicate.x ==")).contains("line 1, column "),
        "{}",
        broken(custom("predicate.x =="))
    );
    let nested = "predicate.a.all(x, x.all(y, y.all(z, z)))";
    assert!(broken(custom(nested)).contains("macros are nested deeper than 2"));
    assert!(broken(custom(&"!".repeat(2049))).contains("longer than 2048 bytes"));
    for deep in ["[".repeat(30) + &"]".repeat(30), "-".repeat(2000) + "1"] {
        reviewed(&deep, json!({})).unwrap_err();
    }
    for deep in
        ["(".repeat(1000) + "1" + &")".repeat(1000), vec!["1"; 1000].join("+"), "[".repeat(32)]
    {
        let stated: AttestationRequirement = serde_json::from_value(custom(&deep)).unwrap();
        assert!(matches!(AttestationRule::from_schema(&stated), Err(Error::Attestation { .. })));
    }
}

#[test]
fn a_statement_too_large_for_a_rule_is_refused_before_it_is_evaluated() {
    let wide = json!({"a": vec![1; 40_000]});
    let said = reviewed("predicate.a.all(x, predicate.a.exists(y, x == y + 1))", wide).unwrap_err();
    assert!(said[0].contains("too large for it to be evaluated"), "{said:?}");
    let said = reviewed("true", json!({"a": vec![1; 60_000]})).unwrap_err();
    assert!(said[0].contains("more than 50000 values"), "{said:?}");
    let said = reviewed("true", json!({"a": "x".repeat(1 << 21)})).unwrap_err();
    assert!(said[0].contains("bytes of text"), "{said:?}");
}

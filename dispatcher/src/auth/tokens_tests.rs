use super::{Action, Found, Queues, TOKEN_PREFIX, TokenEntry, Tokens, TokensError, mint, sha256_hex};
use jiff::Timestamp;

fn parse(text: &str) -> Result<Tokens, TokensError> {
    Tokens::parse(text)
}

fn entry(token: &str, queues: &[&str], may: &[Action], expires: Option<&str>) -> TokenEntry {
    TokenEntry {
        name: "product".to_owned(),
        sha256: sha256_hex(token),
        queues: Queues::from_names(queues.iter().copied()).expect("names"),
        may: may.iter().copied().collect(),
        expires: expires.map(|time| time.parse().expect("a time")),
    }
}

#[test]
fn no_two_tokens_are_alike_and_none_is_short() {
    let (one, other) = (mint(), mint());
    assert_ne!(one.token, other.token);
    assert!(one.token.starts_with(TOKEN_PREFIX) && one.token.len() == 3 + 52, "{} characters", one.token.len());
    assert!(one.token[3..].bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
    assert_eq!(one.sha256, sha256_hex(&one.token));
    assert!(!format!("{one:?}").contains(&one.token), "a token in a debug line");
}

#[test]
fn what_is_written_is_read_back() {
    let text = format!(
        "{}\n{}",
        entry("a", &["mail", "post"], &[Action::Submit, Action::Read], Some("2027-01-01T00:00:00Z")),
        entry("b", &["*"], &[Action::Scale], None)
    );
    let tokens = parse(&text).expect("a good file");
    assert_eq!(tokens.len(), 2);
    let Found::Grant(grant) = tokens.find("a", Timestamp::UNIX_EPOCH) else { panic!("it is there") };
    assert_eq!((grant.name.as_str(), grant.queues.names()), ("product", vec!["mail", "post"]));
    assert!(grant.check(Action::Read, "post").is_ok());
}

#[test]
fn a_token_is_found_until_its_time_is_over_and_another_is_not() {
    let tokens = parse(&entry("a", &["mail"], &[Action::Read], Some("2027-01-01T00:00:00Z")).to_string());
    let tokens = tokens.expect("a good file");
    let at = |time: &str| tokens.find("a", time.parse().expect("a time"));
    assert!(matches!(at("2026-12-31T23:59:59Z"), Found::Grant(_)));
    assert!(matches!(at("2027-01-01T00:00:00Z"), Found::Expired(_)));
    for other in ["", "b", "aa", "A", &sha256_hex("a")] {
        assert_eq!(tokens.find(other, Timestamp::UNIX_EPOCH), Found::Nothing, "{other:?}");
    }
}

#[test]
fn every_mistake_is_reported_together_and_none_shows_a_hash() {
    let hash = sha256_hex("a");
    let text = format!(
        r#"
colour = "red"
[[token]]
name = "two words"
sha256 = "abc"
queues = []
may = ["submit", "fly"]
expires = "tomorrow"
[[token]]
name = "fine"
sha256 = "{hash}"
queues = ["mail"]
may = ["read"]
[[token]]
name = "twice"
sha256 = "{hash}"
queues = ["mail", "*"]
may = []
pet = "cat"
[[token]]
name = "again"
sha256 = "{hash}"
queues = ["mail"]
may = ["read"]
"#
    );
    let error = parse(&text).expect_err("many mistakes");
    let wanted = [
        "colour",
        "token 1: name",
        "sha256 is 64",
        "at least one queue",
        "\"fly\"",
        "expires",
        "stands alone",
        "may is",
        "pet",
        "same sha256",
    ];
    for part in wanted {
        assert!(error.mistakes.iter().any(|mistake| mistake.contains(part)), "{part} in {error}");
    }
    assert!(!error.to_string().contains(&hash));
}

#[test]
fn what_is_no_file_of_tokens_is_refused() {
    for text in ["", "\n# nothing\n", "token = 5", "[[token]]", "token = [5]", "{}", "\u{0}", "[[token"] {
        assert!(parse(text).is_err(), "{text:?}");
    }
    let secret = mint().token;
    let error = parse(&format!("[[token]]\nname = \"x\"\nsha256 = {secret}")).expect_err("no quotes");
    assert!(!error.to_string().contains(&secret) && error.to_string().contains("line 3"), "{error}");
}

#[test]
fn nobody_has_to_be_said() {
    let nobody = parse("# all are revoked\ntoken = []\n").expect("an explicit empty list");
    assert!(nobody.is_empty());
    assert!(parse("").expect_err("nothing is said").to_string().contains("token = []"));
}

#[test]
fn a_token_where_a_name_should_be_is_not_taken() {
    let minted = mint();
    let entry = TokenEntry { name: minted.token, ..entry("a", &["mail"], &[Action::Read], None) };
    assert!(parse(&entry.to_string()).is_err());
}

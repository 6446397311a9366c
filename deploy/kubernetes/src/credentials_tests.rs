//! In a temporary copy, with the libraries that make keys and tokens for real.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use workfleet_dispatcher::auth::tokens::{Found, Tokens};

use super::{MakeError, Turn, What, for_new_workers, make};
use crate::fleet::Fleet;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// The fleet that is shipped, with an overlay that asks for certificates, and one that does not.
    fn new() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().unwrap();
        let kinds = here.join("../../proto/kinds").display().to_string();
        let fleet = fs::read_to_string(here.join("fleet.toml")).unwrap().replace("../../proto/kinds", &kinds);
        fs::write(folder.path().join("fleet.toml"), fleet).unwrap();
        for (overlay, asks) in [("plain", ""), ("secure", "ca.crt=tls/ca.crt")] {
            let path = folder.path().join("overlays").join(overlay).join("credentials");
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("kustomization.yaml"), asks).unwrap();
        }
        crate::render::Rendered::read(folder.path()).unwrap().write(folder.path()).unwrap();
        Self { folder }
    }

    fn path(&self, overlay: &str) -> PathBuf {
        self.folder.path().join("overlays").join(overlay).join("credentials")
    }

    /// Every file that was made, with what is in it.
    fn files(&self, overlay: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let folders = ["nats", "tokens", "tls", "secrets/webhook-secrets"].map(|name| self.path(overlay).join(name));
        let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        entries.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    fn make(&self, overlay: &str, turn: Option<&Turn>) -> Vec<String> {
        let lines = make(self.folder.path(), overlay, turn).unwrap();
        lines.into_iter().map(|line| format!("{}: {}", line.what, line.change)).collect()
    }

    fn token(&self, name: &str) -> String {
        fs::read_to_string(self.path("plain").join("tokens").join(format!("{name}.token"))).unwrap()
    }

    fn is_good(&self, token: &str) -> bool {
        let path = self.path("plain").join("tokens/tokens.toml");
        let tokens = Tokens::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        !matches!(tokens.find(token, jiff::Timestamp::now()), Found::Nothing)
    }
}

#[test]
fn everything_is_made_once_for_its_owner_alone_and_kept() {
    let place = Place::new();
    let made = place.make("secure", None);
    assert!(made.iter().all(|line| line.ends_with(": made")), "{made:?}");
    let files = place.files("secure");
    assert!(files.contains_key(&place.path("secure").join("nats/worker-thumbnail.nk")), "{:?}", files.keys());
    for path in files.keys() {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
    let kept = place.make("secure", None);
    assert!(kept.iter().all(|line| line.ends_with(": kept")), "{kept:?}");
    assert!(place.files("secure") == files, "a repeat changes nothing");
}

#[test]
fn tokens_are_those_that_the_dispatcher_knows_and_end_without_a_newline() {
    let place = Place::new();
    place.make("plain", None);
    for name in ["admin", "app", "scale"] {
        let token = place.token(name);
        assert!(token.starts_with("wf_") && place.is_good(&token), "{name}");
        assert!(!token.ends_with('\n'), "KEDA would send it");
    }
    assert!(!place.is_good("wf_other"));
}

#[test]
fn an_old_token_is_good_until_the_second_step_and_others_entries_stay() {
    let place = Place::new();
    place.make("plain", None);
    let (path, old) = (place.path("plain").join("tokens/tokens.toml"), place.token("app"));
    let own = "# Ours.\n[[token]]\nname = \"other\"\nsha256 = \"".to_owned()
        + &"0".repeat(64)
        + "\"\nqueues = [\"*\"]\nmay = [\"read\"]\n";
    fs::write(&path, fs::read_to_string(&path).unwrap() + &own).unwrap();

    let app: What = "app".parse().unwrap();
    place.make("plain", Some(&Turn::begin(app.clone())));
    let new = place.token("app");
    assert!(old != new && place.is_good(&old) && place.is_good(&new));

    place.make("plain", Some(&Turn::finish(app)));
    assert!(!place.is_good(&old) && place.is_good(&new) && place.is_good(&place.token("admin")));
    assert!(fs::read_to_string(&path).unwrap().contains("name = \"other\""), "an entry of the user's is the user's");
}

#[test]
fn a_second_rotation_of_a_token_waits_for_the_end_of_the_first() {
    let place = Place::new();
    place.make("plain", None);
    let app: What = "app".parse().unwrap();
    place.make("plain", Some(&Turn::begin(app.clone())));
    let files = place.files("plain");
    let refused = make(place.folder.path(), "plain", Some(&Turn::begin(app.clone()))).unwrap_err();
    assert!(refused.to_string().contains("--finish app"), "{refused}");
    assert!(place.files("plain") == files, "nothing has changed");
    place.make("plain", Some(&Turn::finish(app.clone())));
    place.make("plain", Some(&Turn::begin(app)));
}

#[test]
fn a_rotation_of_a_token_that_broke_off_can_begin_again() {
    let place = Place::new();
    place.make("plain", None);
    let old = place.token("app");
    fs::write(place.path("plain").join("tokens/app.token"), "wf_in_no_entry").unwrap();
    place.make("plain", Some(&Turn::begin("app".parse().unwrap())));
    assert!(place.is_good(&old) && place.is_good(&place.token("app")) && !place.is_good("wf_in_no_entry"));
}

#[test]
fn what_leaked_is_replaced_in_one_go() {
    let place = Place::new();
    place.make("plain", None);
    let replace = |what: &str| {
        let what: What = what.parse().unwrap();
        Turn::new(Some(what.clone()), Some(what)).unwrap().unwrap()
    };
    let mut olds = vec![place.token("app")];
    place.make("plain", Some(&Turn::begin("app".parse().unwrap())));
    olds.push(place.token("app"));
    let lines = place.make("plain", Some(&replace("app")));
    assert!(lines.contains(&"token app: replaced".to_owned()), "{lines:?}");
    assert!(place.is_good(&place.token("app")) && !olds.iter().any(|old| place.is_good(old)));

    let lines = place.make("plain", Some(&replace("worker-thumbnail")));
    assert!(lines.contains(&"nats worker-thumbnail: replaced".to_owned()), "{lines:?}");
    let two = Turn::new(Some("app".parse().unwrap()), Some("scale".parse().unwrap())).unwrap_err();
    assert!(matches!(two, MakeError::TwoThings(..)), "{two}");
}

#[test]
fn a_worker_that_came_after_the_credentials_is_named_with_what_to_run() {
    let place = Place::new();
    let dir = place.folder.path();
    let fleet = || Fleet::read(dir).unwrap();
    assert_eq!(for_new_workers(dir, &fleet()), [""; 0], "before any were made, kustomize says what to run");
    place.make("plain", None);
    assert_eq!(for_new_workers(dir, &fleet()), [""; 0]);
    fs::remove_file(place.path("plain").join("nats/worker-email.nk")).unwrap();
    assert_eq!(for_new_workers(dir, &fleet()), ["new worker email: run make credentials OVERLAY=plain"]);
}

#[test]
fn a_role_of_the_broker_is_turned_over_in_two_steps_too() {
    let place = Place::new();
    place.make("plain", None);
    let conf = || fs::read_to_string(place.path("plain").join("nats/auth.conf")).unwrap();
    let keys = |conf: &str| conf.matches("nkey:").count();
    let before = keys(&conf());
    let role: What = "worker-thumbnail".parse().unwrap();
    place.make("plain", Some(&Turn::begin(role.clone())));
    assert_eq!(keys(&conf()), before + 1);
    place.make("plain", Some(&Turn::finish(role)));
    assert_eq!(keys(&conf()), before);
}

#[test]
fn certificates_are_made_again_when_they_are_asked_for_end_soon_or_name_other_servers() {
    let place = Place::new();
    place.make("secure", None);
    let read = |name: &str| fs::read_to_string(place.path("secure").join("tls").join(name)).unwrap();
    let (ca, nats, jaeger) = (read("ca.crt"), read("nats.crt"), read("jaeger.crt"));
    place.make("secure", Some(&Turn::begin("tls".parse().unwrap())));
    assert_eq!(read("ca.crt"), ca, "the CA stays");
    assert!(read("nats.crt") != nats && read("jaeger.crt") != jaeger);

    let (nats, jaeger) = (read("nats.crt"), read("jaeger.crt"));
    let made = read("nats.made");
    let until = made.lines().next().unwrap();
    let soon = jiff::Timestamp::now().saturating_add(jiff::SignedDuration::from_hours(24 * 29)).unwrap();
    fs::write(place.path("secure").join("tls/nats.made"), made.replace(until, &format!("until {soon}"))).unwrap();
    place.make("secure", None);
    assert!(read("nats.crt") != nats, "it ends within 30 days");
    assert_eq!(read("jaeger.crt"), jaeger);

    let nats = read("nats.crt");
    let fleet = place.folder.path().join("fleet.toml");
    fs::write(&fleet, fs::read_to_string(&fleet).unwrap().replace("servers = 3", "servers = 5")).unwrap();
    place.make("secure", None);
    assert!(read("nats.crt") != nats && read("nats.made").contains("nats-4.nats-headless"), "there are more servers");
    assert_eq!(read("jaeger.crt"), jaeger);

    let dispatcher = read("dispatcher.crt");
    fs::write(&fleet, fs::read_to_string(&fleet).unwrap().replace("hosts = []", "hosts = [\"tasks.example.com\"]"))
        .unwrap();
    place.make("secure", None);
    assert!(read("dispatcher.crt") != dispatcher && read("dispatcher.made").contains(" tasks.example.com"));
    assert!(!read("nats.made").contains("example.com"));
}

#[test]
fn what_is_not_there_cannot_be_turned_over() {
    let place = Place::new();
    let tls = make(place.folder.path(), "plain", Some(&Turn::begin("tls".parse().unwrap())));
    assert!(matches!(tls, Err(MakeError::NotHere(_))), "{tls:?}");
    assert!(place.files("plain").is_empty(), "and nothing is made");
    let none = make(place.folder.path(), "none", None).unwrap_err().to_string();
    assert!(none.contains("no overlay with credentials; there are: plain, secure. An overlay on top"), "{none}");
    let finish = make(place.folder.path(), "secure", Some(&Turn::finish(What::Tls)));
    assert!(matches!(finish, Err(MakeError::NothingToFinish)), "{finish:?}");
    assert!("Thumb nail".parse::<What>().unwrap_err().contains("worker-<queue>"));
}

#[test]
fn a_secret_that_only_the_user_has_is_asked_for() {
    let place = Place::new();
    let fleet = place.folder.path().join("fleet.toml");
    let text = fs::read_to_string(&fleet).unwrap();
    fs::write(&fleet, text.replace("default = \"whsec\"", "default = \"whsec\", partner = \"yours\"")).unwrap();
    let Err(MakeError::Yours(paths)) = make(place.folder.path(), "plain", None) else { panic!("it is missing") };
    assert_eq!(paths, [place.path("plain").join("secrets/webhook-secrets/partner")]);
    fs::write(&paths[0], "theirs").unwrap();
    assert!(make(place.folder.path(), "plain", None).is_ok());
}

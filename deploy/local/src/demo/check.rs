//! Whether all ended as it must: pictures, the webhooks that tell of them, and mails; and thumbnails into files.

use std::path::Path;

use image::ImageFormat;

use super::arrived::Arrived;
use super::client::Task;
use super::follow::Shown;
use super::mails::Mail;
use super::samples::{Expected, Sample};
use super::thumbnail_path;
use crate::error::LocalError;

/// Writes the thumbnail to `folder`, and says what is wrong with it.
pub(super) fn thumbnail(shown: &Shown<'_, Sample>, folder: &Path) -> Result<Option<String>, LocalError> {
    let Shown { what: sample, task, .. } = shown;
    let complain = |what: String| Ok(Some(format!("{}: {what}", sample.name)));
    let (width, height, extension) = match sample.expected {
        Expected::Thumbnail(width, height, extension) => (width, height, extension),
        Expected::Failure(code) => {
            let found = task.failure.as_ref().map(|failure| failure.code.as_str());
            return if found == Some(code) { Ok(None) } else { complain(format!("{found:?} instead of {code}")) };
        }
    };
    let Some(bytes) = task.image() else { return complain(not_done(task, "without a picture")) };
    let path = thumbnail_path(folder, sample.name, extension);
    std::fs::write(&path, &bytes).map_err(LocalError::file(&path))?;
    let picture = match image::load_from_memory(&bytes) {
        Ok(picture) => picture,
        Err(error) => return complain(format!("the thumbnail does not open: {error}")),
    };
    let format = image::guess_format(&bytes).ok();
    if (picture.width(), picture.height()) != (width, height) {
        return complain(format!("{} x {} instead of {width} x {height}", picture.width(), picture.height()));
    }
    if format != ImageFormat::from_extension(extension) {
        return complain(format!("{format:?} instead of {extension}"));
    }
    Ok(None)
}

/// Says what is wrong with the webhook that tells of a picture: one for each that is done, verified by its receiver, in
/// the trace of its parent; and none for a broken one.
pub(super) fn webhook(shown: &Shown<'_, Sample>, arrived: &Arrived) -> Option<String> {
    let Shown { what: sample, task, children } = shown;
    let complain = |what: String| Some(format!("{}: {what}", sample.name));
    let child = match (sample.is_good(), children.as_slice()) {
        (true, [child]) => child,
        (false, []) => return None,
        (_, children) => return complain(format!("{} webhook tasks", children.len())),
    };
    if child.state != "completed" {
        return complain(not_done(child, "the webhook"));
    }
    if child.parent_id.as_ref() != Some(&task.id) {
        return complain(format!("the webhook's parent is {:?}", child.parent_id));
    }
    let Some(webhook) = arrived.webhook(&child.id) else {
        return complain("the webhook is completed, but its receiver has not seen it".to_owned());
    };
    if !webhook.is_verified() {
        return complain(format!("the receiver says that the webhook's signature is {}", webhook.signature));
    }
    let told = |pointer: &str| webhook.body.pointer(pointer).and_then(|value| value.as_str());
    if (told("/type"), told("/data/task_id")) != (Some("thumbnail.completed"), Some(&task.id)) {
        return complain(format!("the webhook says {}", webhook.body));
    }
    let trace = task.trace_id.as_deref().unwrap_or("none");
    if webhook.traceparent.split('-').nth(1) != Some(trace) {
        return complain(format!("the webhook's traceparent is {:?}, not of trace {trace}", webhook.traceparent));
    }
    None
}

/// Says what is wrong with a mail.
pub(super) fn mail(shown: &Shown<'_, Mail>, arrived: &Arrived) -> Option<String> {
    let Shown { what: mail, task, .. } = shown;
    match task.text("message_id") {
        None => Some(format!("{}: {}", mail.name, not_done(task, "without a Message-ID"))),
        Some(id) if arrived.mail(id).is_none() => {
            Some(format!("{}: the task is completed, but the sink has no mail <{id}>", mail.name))
        }
        Some(_) => None,
    }
}

fn not_done(task: &Task, what: &str) -> String {
    let why = task.failure.as_ref().map_or(String::new(), |failure| format!(": {}: {}", failure.code, failure.message));
    format!("{what}: {} is {}{why}", task.id, task.state)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{mail, webhook};
    use crate::demo::arrived::Arrived;
    use crate::demo::client::Task;
    use crate::demo::follow::Shown;
    use crate::demo::mails::MAILS;
    use crate::demo::samples::{Sample, samples};

    fn task(fields: &Value) -> Task {
        let mut task =
            json!({"id": "thumbnail_1", "state": "completed", "attempt": 1, "attempts_max": 5, "trace_id": "7"});
        for (name, value) in fields.as_object().unwrap() {
            task[name] = value.clone();
        }
        serde_json::from_value(task).unwrap()
    }

    fn shown<'a>(samples: &'a [Sample], name: &str, children: Vec<Task>) -> Shown<'a, Sample> {
        let what = samples.iter().find(|sample| sample.name == name).unwrap();
        Shown { what, task: task(&json!({})), children }
    }

    fn child() -> Task {
        task(&json!({"id": "webhook_1", "parent_id": "thumbnail_1"}))
    }

    fn arrived(change: impl FnOnce(&mut Value)) -> Arrived {
        let mut webhook = json!({
            "id": "webhook_1", "traceparent": "00-7-8-01", "signature": "good",
            "body": {"type": "thumbnail.completed", "data": {"task_id": "thumbnail_1"}},
        });
        change(&mut webhook);
        Arrived { webhooks: vec![serde_json::from_value(webhook).unwrap()], mails: Vec::new() }
    }

    #[test]
    fn a_webhook_that_is_not_verified_or_says_something_else_is_no_delivery() {
        let samples = samples();
        let complaint =
            |change: fn(&mut Value)| webhook(&shown(&samples, "dunes.jpg", vec![child()]), &arrived(change));
        assert_eq!(complaint(|_| ()), None);
        for (change, word) in [
            ((|webhook| webhook["signature"] = "wrong".into()) as fn(&mut Value), "signature is wrong"),
            (|webhook| webhook["id"] = "webhook_2".into(), "has not seen it"),
            (|webhook| webhook["body"]["data"]["task_id"] = "thumbnail_2".into(), "says"),
            (|webhook| webhook["traceparent"] = "00-8-8-01".into(), "not of trace 7"),
        ] {
            assert!(complaint(change).unwrap().contains(word), "{word}");
        }
    }

    #[test]
    fn a_picture_that_is_done_has_one_webhook_and_a_broken_one_has_none() {
        let samples = samples();
        let complaint = |name, children| webhook(&shown(&samples, name, children), &arrived(|_| ()));
        assert!(complaint("dunes.jpg", Vec::new()).unwrap().contains("0 webhook tasks"));
        assert!(complaint("dunes.jpg", vec![child(), child()]).unwrap().contains("2 webhook tasks"));
        assert_eq!(complaint("broken.jpg", Vec::new()), None);
        assert!(complaint("broken.jpg", vec![child()]).unwrap().contains("1 webhook tasks"));
        let failed = task(&json!({"id": "webhook_1", "state": "failed", "failure": {"code": "gone", "message": "m"}}));
        assert!(complaint("dunes.jpg", vec![failed]).unwrap().contains("webhook_1 is failed: gone: m"));
    }

    #[test]
    fn a_mail_that_is_not_in_the_sink_is_not_sent() {
        let shown = |fields: Value| Shown { what: &MAILS[0], task: task(&fields), children: Vec::new() };
        let sent = shown(json!({"output": {"message_id": "1@example.org"}}));
        assert!(mail(&sent, &Arrived::default()).unwrap().contains("the sink has no mail"));
        assert!(mail(&shown(json!({"state": "failed"})), &Arrived::default()).unwrap().contains("is failed"));
    }
}

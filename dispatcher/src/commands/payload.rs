//! The input of a task, as a shell can give it.

use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Map, Value};

use super::fault::Fault;

/// The input of a task.
#[derive(Debug, Clone, Args)]
pub(crate) struct Payload {
    /// The input as JSON: the text itself, @FILE to read a file, or - for the standard input; without it {}
    #[arg(value_name = "JSON|@FILE|-")]
    input: Option<String>,
    /// Set one field of the input: NAME=@FILE puts a file's bytes there as base64, NAME=VALUE a number, true, false,
    /// null, any JSON, or else the text as it stands. May be repeated
    #[arg(long = "field", value_name = "NAME=@FILE|NAME=VALUE")]
    fields: Vec<Field>,
}

impl Payload {
    /// Puts it together.
    pub(crate) fn read(&self) -> Result<Value, Fault> {
        let text = match self.input.as_deref() {
            None => "{}".to_owned(),
            Some("-") => text_of(read_stdin()?)?,
            Some(input) => match input.strip_prefix('@') {
                Some(path) => text_of(read_file(path)?)?,
                None => input.to_owned(),
            },
        };
        let mut payload: Value =
            serde_json::from_str(&text).map_err(|error| Fault::Usage(format!("the input is not JSON: {error}")))?;
        for field in &self.fields {
            field.put(&mut payload)?;
        }
        Ok(payload)
    }

    /// The input, if it is a time, which no input can be.
    pub(crate) fn as_duration(&self) -> Option<&str> {
        self.input.as_deref().filter(|input| humantime::parse_duration(input).is_ok())
    }

    /// A payload that was refused may be a file's name where its bytes were meant: says so.
    pub(crate) fn explain(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Refused(mut problem) if problem.code == "invalid_payload" => {
                for field in &self.fields {
                    if let Some(path) = field.file_name() {
                        problem.detail.push_str(&format!("; did you mean --field {}=@{path}?", field.name));
                    }
                }
                Fault::Refused(problem)
            }
            other => other,
        }
    }
}

/// A document from a file, or from the standard input where it is `-`.
pub(crate) fn read_json(source: &str) -> Result<Value, Fault> {
    let text = text_of(if source == "-" { read_stdin()? } else { read_file(source)? })?;
    serde_json::from_str(&text).map_err(|error| Fault::Usage(format!("{source} is not JSON: {error}")))
}

/// One `--field`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    name: String,
    value: FieldValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum FieldValue {
    File(String),
    Json(Value),
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("a field is written NAME=VALUE or NAME=@FILE")?;
        if name.is_empty() {
            return Err("the field has no name before the =".to_owned());
        }
        let value = match value.strip_prefix('@') {
            Some(path) => FieldValue::File(path.to_owned()),
            None => FieldValue::Json(serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))),
        };
        Ok(Self { name: name.to_owned(), value })
    }
}

impl Field {
    /// Its text, if there is a file of that name.
    fn file_name(&self) -> Option<&str> {
        match &self.value {
            FieldValue::Json(Value::String(text)) if Path::new(text).is_file() => Some(text),
            FieldValue::Json(_) | FieldValue::File(_) => None,
        }
    }

    /// Sets it in a payload.
    pub(crate) fn put(&self, payload: &mut Value) -> Result<(), Fault> {
        let fields: &mut Map<String, Value> = payload
            .as_object_mut()
            .ok_or_else(|| Fault::Usage(format!("--field {}: the input is not a JSON object", self.name)))?;
        let value = match &self.value {
            FieldValue::File(path) => Value::from(STANDARD.encode(read_file(path)?)),
            FieldValue::Json(value) => value.clone(),
        };
        fields.insert(self.name.clone(), value);
        Ok(())
    }
}

fn read_file(path: &str) -> Result<Vec<u8>, Fault> {
    std::fs::read(Path::new(path)).map_err(|error| Fault::Usage(format!("cannot read {path}: {error}")))
}

fn read_stdin() -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Fault::Usage(format!("cannot read the standard input: {error}")))?;
    Ok(bytes)
}

fn text_of(bytes: Vec<u8>) -> Result<String, Fault> {
    String::from_utf8(bytes)
        .map_err(|_| Fault::Usage("the input is not text; to send a file's bytes, write --field NAME=@FILE".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::fault::{Fault, Problem};
    use super::Payload;
    use serde_json::json;

    fn read(input: Option<&str>, fields: &[&str]) -> Result<serde_json::Value, String> {
        let fields = fields.iter().map(|field| field.parse()).collect::<Result<_, _>>()?;
        Payload { input: input.map(str::to_owned), fields }.read().map_err(|fault| fault.to_string())
    }

    #[test]
    fn fields_are_numbers_text_or_a_files_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.bin");
        std::fs::write(&path, [0, 255]).expect("a file");
        let file = format!("image=@{}", path.display());
        let payload = read(Some(r#"{"a":1}"#), &["width_px=128", "note=hello=you", "on=true", &file]);
        assert_eq!(payload, Ok(json!({"a": 1, "width_px": 128, "note": "hello=you", "on": true, "image": "AP8="})));
    }

    #[test]
    fn a_files_name_in_place_of_its_bytes_is_noticed_once_it_was_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().display();
        let fields = [format!("image={path}"), "note=hello".to_owned()].map(|field| field.parse().expect("a field"));
        let payload = Payload { input: None, fields: fields.into() };
        let explained = |code: &str| {
            let problem = Problem { code: code.to_owned(), detail: "no base64".to_owned(), ..Problem::default() };
            payload.explain(Fault::Refused(Box::new(problem))).to_string()
        };
        let hint = format!("no base64; did you mean --field image=@{path}? [");
        assert!(explained("invalid_payload").starts_with(&hint), "{}", explained("invalid_payload"));
        assert!(!explained("unknown_queue").contains("mean"));
    }

    #[test]
    fn mistakes_say_what_is_wrong() {
        assert!(read(Some("{"), &[]).expect_err("no JSON").contains("not JSON"));
        assert!(read(Some("[]"), &["a=1"]).expect_err("no object").contains("not a JSON object"));
        assert!(read(None, &["a=@/does/not/exist"]).expect_err("no file").contains("/does/not/exist"));
        assert!(read(None, &["a"]).expect_err("no value").contains("NAME=VALUE"));
    }
}

//! Data as JSON text.
//!
//! Where numbers are whole they are written so: `Value` knows only doubles, and `3.0` is not what anybody submitted.

use std::io::{self, Write};

use prost_types::Value;
use prost_types::value::Kind;
use serde_json::{Map, Number};

use crate::error::DeliveryError;

/// Deepest nesting of arrays and objects. Each object is three messages in the next, and what decodes a task takes a
/// hundred.
const DEPTH_MAX: u32 = 32;
/// Largest body. A task can be larger, by a blob; what receivers take in one request seldom is.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Up to here each whole number is a double of its own.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// The same as JSON.
pub(crate) fn of(value: Value) -> Result<serde_json::Value, DeliveryError> {
    nested(value, DEPTH_MAX)
}

fn nested(value: Value, depth: u32) -> Result<serde_json::Value, DeliveryError> {
    let inside = || depth.checked_sub(1).ok_or(DeliveryError::InvalidData("is nested too deeply"));
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(value)) => value.into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::NumberValue(number)) => self::number(number)?.into(),
        Some(Kind::ListValue(list)) => {
            let depth = inside()?;
            list.values.into_iter().map(|value| nested(value, depth)).collect::<Result<Vec<_>, _>>()?.into()
        }
        Some(Kind::StructValue(object)) => {
            let depth = inside()?;
            let fields = object.fields.into_iter().map(|(name, value)| Ok((name, nested(value, depth)?)));
            fields.collect::<Result<Map<_, _>, _>>()?.into()
        }
    })
}

fn number(number: f64) -> Result<Number, DeliveryError> {
    if number.fract() == 0.0 && number.abs() <= WHOLE_MAX {
        // Exact within these bounds.
        return Ok(Number::from(number as i64));
    }
    Number::from_f64(number).ok_or(DeliveryError::InvalidData("has a number in it that is none in JSON"))
}

/// The text, unless it is too long for a body.
pub(crate) fn text(value: &serde_json::Value) -> Result<Vec<u8>, DeliveryError> {
    let mut bounded = Bounded(Vec::new());
    serde_json::to_writer(&mut bounded, value).map_err(|_| DeliveryError::InvalidData("is too large"))?;
    Ok(bounded.0)
}

struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > BODY_BYTES_MAX {
            return Err(io::Error::other("too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{BODY_BYTES_MAX, DEPTH_MAX, of, text};
    use prost_types::value::Kind;
    use prost_types::{ListValue, Struct, Value};

    fn value(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    fn written(kind: Kind) -> String {
        String::from_utf8(text(&of(value(kind)).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn whole_numbers_have_no_point() {
        let cases = [
            (3.0, "3"),
            (-7.0, "-7"),
            (0.0, "0"),
            (-0.0, "0"),
            (1.5, "1.5"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (-9_007_199_254_740_992.0, "-9007199254740992"),
            (1e300, "1e+300"),
        ];
        for (number, expected) in cases {
            assert_eq!(written(Kind::NumberValue(number)), expected);
        }
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(of(value(Kind::NumberValue(number))).unwrap_err().code(), "invalid_data");
        }
    }

    #[test]
    fn any_value_is_data() {
        assert_eq!(written(Kind::NullValue(0)), "null");
        assert_eq!(text(&of(Value::default()).unwrap()).unwrap(), b"null");
        let list = ListValue { values: vec![value(Kind::BoolValue(true)), value(Kind::StringValue("ä\"".into()))] };
        let fields = [("z".to_owned(), value(Kind::ListValue(list))), ("a".to_owned(), value(Kind::NumberValue(1.0)))];
        assert_eq!(written(Kind::StructValue(Struct { fields: fields.into() })), r#"{"a":1,"z":[true,"ä\""]}"#);
    }

    #[test]
    fn what_is_too_deep_or_too_large_is_refused() {
        let nested = |depth| {
            (0..depth).fold(Value::default(), |inner, _| value(Kind::ListValue(ListValue { values: vec![inner] })))
        };
        assert!(of(nested(DEPTH_MAX)).is_ok());
        assert_eq!(of(nested(DEPTH_MAX + 1)).unwrap_err().code(), "invalid_data");
        let string = |bytes: usize| of(value(Kind::StringValue("x".repeat(bytes)))).unwrap();
        assert!(text(&string(BODY_BYTES_MAX - 2)).is_ok());
        assert_eq!(text(&string(BODY_BYTES_MAX - 1)).unwrap_err().code(), "invalid_data");
    }
}

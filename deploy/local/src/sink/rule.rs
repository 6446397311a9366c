//! What the mail sink does instead of taking a mail, so that tests and demos see a server that is not well.
//!
//! `rcpt:ada@example.org=550`, `mail=451x2`, `end=hang`: a place in the conversation, an address where one matters, what
//! happens there, and how often before all is well again (`x2`); without a number, always.

use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A place in the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before the greeting.
    Connect,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// After the mail's last line. A code refuses the mail; anything else comes after it is stored.
    End,
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Refuse(u16),
    /// Says nothing more, and keeps the connection.
    Hang,
    /// Ends the connection.
    Drop,
    /// Goes on after a while.
    Wait(Duration),
}

/// One such wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    stage: Stage,
    address: Option<String>,
    act: Act,
    /// `None`: always.
    times: Option<u32>,
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (place, act) = text.split_once('=').ok_or("a rule is STAGE[:ADDRESS]=ACT[xTIMES]")?;
        let (stage, address) = match place.split_once(':') {
            Some((stage, address)) => (stage, Some(address.to_ascii_lowercase())),
            None => (place, None),
        };
        let (act, times) = match act.rsplit_once('x') {
            Some((act, times)) => (act, Some(times.parse().map_err(|_| format!("{times:?} is no number of times"))?)),
            None => (act, None),
        };
        Ok(Self { stage: stage.parse()?, address, act: act.parse()?, times })
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "connect" => Self::Connect,
            "auth" => Self::Auth,
            "mail" => Self::Mail,
            "rcpt" => Self::Rcpt,
            "data" => Self::Data,
            "end" => Self::End,
            _ => return Err(format!("{text:?} is not connect, auth, mail, rcpt, data or end")),
        })
    }
}

impl FromStr for Act {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("{text:?} is not a code of 400 to 599, hang, drop or wait<milliseconds>");
        match (text, text.strip_prefix("wait")) {
            ("hang", _) => Ok(Self::Hang),
            ("drop", _) => Ok(Self::Drop),
            (_, Some(ms)) => Ok(Self::Wait(Duration::from_millis(ms.parse().map_err(|_| unknown())?))),
            _ => match text.parse() {
                Ok(code @ 400..=599) => Ok(Self::Refuse(code)),
                _ => Err(unknown()),
            },
        }
    }
}

/// All of them, with how often each was used.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<(Rule, AtomicU32)>);

impl Rules {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        Self(rules.into_iter().map(|rule| (rule, AtomicU32::new(0))).collect())
    }

    /// What happens here, of the first rule that fits and is not used up.
    pub(super) fn at(&self, stage: Stage, address: Option<&str>) -> Option<Act> {
        let fits = |rule: &Rule| {
            rule.stage == stage
                && rule
                    .address
                    .as_deref()
                    .is_none_or(|wanted| address.is_some_and(|address| address.eq_ignore_ascii_case(wanted)))
        };
        let left = |rule: &Rule, used: &AtomicU32| match rule.times {
            Some(times) => used.fetch_add(1, Ordering::Relaxed) < times,
            None => true,
        };
        self.0.iter().find(|(rule, used)| fits(rule) && left(rule, used)).map(|(rule, _)| rule.act)
    }
}

#[cfg(test)]
mod tests {
    use super::{Act, Rule, Rules, Stage};
    use std::time::Duration;

    fn rules(texts: &[&str]) -> Rules {
        Rules::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn a_rule_holds_for_its_place_its_address_and_its_times() {
        let rules = rules(&["rcpt:ada@example.org=450x2", "end=wait20", "connect=drop"]);
        assert_eq!(rules.at(Stage::Rcpt, Some("bob@example.org")), None);
        for expected in [Some(Act::Refuse(450)), Some(Act::Refuse(450)), None] {
            assert_eq!(rules.at(Stage::Rcpt, Some("Ada@example.org")), expected);
        }
        assert_eq!(rules.at(Stage::End, None), Some(Act::Wait(Duration::from_millis(20))));
        assert_eq!(rules.at(Stage::Connect, None), Some(Act::Drop));
    }

    #[test]
    fn what_is_no_rule_is_told_so() {
        for text in ["rcpt", "rset=450", "rcpt=250", "rcpt=hangx", "end=wait", "=", "mail=4500"] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }
}

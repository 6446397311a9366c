//! The server's side of SMTP, as far as a sink needs it: pure, a line in and a reply out.

use super::rule::Stage;

/// Most recipients of a mail, as RFC 5321 asks of every server.
const RECIPIENTS_MAX: usize = 100;

/// A line of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Hello {
        extended: bool,
    },
    Auth {
        whole: bool,
    },
    Mail(String),
    Rcpt(String),
    Data,
    Reset,
    Noop,
    Quit,
    /// An address that is none.
    BadAddress,
    Unknown,
}

impl Command {
    pub(super) fn parse(line: &str) -> Self {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => Self::Hello { extended: true },
            "HELO" => Self::Hello { extended: false },
            "AUTH" => Self::Auth { whole: rest.trim().contains(' ') },
            "MAIL" => path(rest, "FROM:").map_or(Self::BadAddress, Self::Mail),
            "RCPT" => path(rest, "TO:").filter(|to| !to.is_empty()).map_or(Self::BadAddress, Self::Rcpt),
            "DATA" => Self::Data,
            "RSET" => Self::Reset,
            "NOOP" => Self::Noop,
            "QUIT" => Self::Quit,
            _ => Self::Unknown,
        }
    }

    /// Where a rule may stand in its way.
    pub(super) fn stage(&self) -> Option<(Stage, Option<&str>)> {
        match self {
            Self::Auth { .. } => Some((Stage::Auth, None)),
            Self::Mail(from) => Some((Stage::Mail, Some(from))),
            Self::Rcpt(to) => Some((Stage::Rcpt, Some(to))),
            Self::Data => Some((Stage::Data, None)),
            _ => None,
        }
    }
}

/// What stands between the angle brackets after `word`; parameters after it are none of a sink's business.
fn path(rest: &str, word: &str) -> Option<String> {
    let given = rest.get(..word.len()).filter(|given| given.eq_ignore_ascii_case(word))?;
    let (address, _) = rest[given.len()..].trim_start().strip_prefix('<')?.rsplit_once('>')?;
    Some(address.to_owned())
}

/// Who a mail is from and for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) from: String,
    pub(super) to: Vec<String>,
}

/// What the server says, and what comes after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Say(&'static str),
    /// 334; the next line is no command.
    Challenge,
    /// 354; what follows is a mail with this envelope.
    Receive(Envelope),
    Goodbye,
}

/// One conversation.
#[derive(Debug, Default)]
pub(super) struct Session {
    greeted: bool,
    envelope: Option<Envelope>,
}

impl Session {
    pub(super) fn take(&mut self, command: Command) -> Step {
        match command {
            Command::Hello { extended } => {
                (self.greeted, self.envelope) = (true, None);
                Step::Say(if extended {
                    "250-workfleet-local\r\n250-8BITMIME\r\n250-SIZE 16777216\r\n250 AUTH PLAIN"
                } else {
                    "250 workfleet-local"
                })
            }
            Command::Quit => Step::Goodbye,
            Command::Noop => Step::Say("250 2.0.0 ok"),
            Command::Unknown => Step::Say("500 5.5.2 unknown command"),
            Command::BadAddress => Step::Say("501 5.1.3 that is no address"),
            _ if !self.greeted => Step::Say("503 5.5.1 say EHLO first"),
            Command::Reset => {
                self.envelope = None;
                Step::Say("250 2.0.0 ok")
            }
            Command::Auth { whole: true } => Step::Say("235 2.7.0 welcome"),
            Command::Auth { whole: false } => Step::Challenge,
            Command::Mail(_) if self.envelope.is_some() => Step::Say("503 5.5.1 a mail has one sender"),
            Command::Mail(from) => {
                self.envelope = Some(Envelope { from, to: Vec::new() });
                Step::Say("250 2.1.0 ok")
            }
            Command::Rcpt(to) => self.rcpt(to),
            Command::Data => match self.envelope.take_if(|envelope| !envelope.to.is_empty()) {
                Some(envelope) => Step::Receive(envelope),
                None => Step::Say("503 5.5.1 MAIL and RCPT come first"),
            },
        }
    }

    fn rcpt(&mut self, to: String) -> Step {
        Step::Say(match &mut self.envelope {
            None => "503 5.5.1 MAIL comes first",
            Some(envelope) if envelope.to.len() >= RECIPIENTS_MAX => "452 4.5.3 too many recipients",
            Some(envelope) => {
                envelope.to.push(to);
                "250 2.1.5 ok"
            }
        })
    }
}

/// A line of a mail as it was before the client doubled a leading dot; `None` is the end of the mail.
pub(super) fn unstuffed(line: &[u8]) -> Option<&[u8]> {
    match line {
        b".\r\n" => None,
        [b'.', rest @ ..] => Some(rest),
        _ => Some(line),
    }
}

#[cfg(test)]
mod tests {
    use super::{Command, Envelope, Session, Step, unstuffed};

    /// The codes that are said to these lines.
    fn codes(lines: &[&str]) -> Vec<String> {
        let mut session = Session::default();
        let code = |line: &&str| match session.take(Command::parse(line)) {
            Step::Say(text) => text[..3].to_owned(),
            Step::Challenge => "334".to_owned(),
            Step::Receive(_) => "354".to_owned(),
            Step::Goodbye => "221".to_owned(),
        };
        lines.iter().map(code).collect()
    }

    #[test]
    fn a_mail_takes_its_way() {
        let lines =
            ["EHLO me", "AUTH PLAIN AGEAYg==", "MAIL FROM:<a@x> BODY=8BITMIME", "RCPT TO:<b@y>", "DATA", "QUIT"];
        assert_eq!(codes(&lines), ["250", "235", "250", "250", "354", "221"]);
    }

    #[test]
    fn what_is_out_of_order_or_no_command_is_refused() {
        assert_eq!(codes(&["MAIL FROM:<a@x>", "helo me", "RCPT TO:<b@y>", "DATA"]), ["503", "250", "503", "503"]);
        assert_eq!(codes(&["EHLO me", "MAIL FROM:<a@x>", "MAIL FROM:<a@x>", "DATA"]), ["250", "250", "503", "503"]);
        assert_eq!(
            codes(&["EHLO me", "MAIL a@x", "RCPT TO:<>", "RCPT TOO:<é", "", "EXPN"]),
            ["250", "501", "501", "501", "500", "500"]
        );
    }

    #[test]
    fn a_reset_forgets_the_mail_and_the_envelope_is_the_last_one() {
        let mut session = Session::default();
        for line in ["EHLO me", "MAIL FROM:<a@x>", "RCPT TO:<b@y>", "RSET", "MAIL FROM:<c@x>", "RCPT TO:<d@y>"] {
            assert!(matches!(session.take(Command::parse(line)), Step::Say(text) if text.starts_with("250")), "{line}");
        }
        let envelope = Envelope { from: "c@x".to_owned(), to: vec!["d@y".to_owned()] };
        assert_eq!(session.take(Command::Data), Step::Receive(envelope));
    }

    #[test]
    fn dots_are_unstuffed() {
        assert_eq!(unstuffed(b".\r\n"), None);
        assert_eq!(unstuffed(b"..\r\n"), Some(b".\r\n".as_slice()));
        assert_eq!(unstuffed(b"a.\r\n"), Some(b"a.\r\n".as_slice()));
    }
}

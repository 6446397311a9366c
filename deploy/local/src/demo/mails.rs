//! The mails that the demo sends: an address that can be nobody's, in both shapes that a mail has.

/// One mail.
#[derive(Debug)]
pub(super) struct Mail {
    pub(super) name: &'static str,
    pub(super) to: &'static str,
    pub(super) subject: &'static str,
    pub(super) text: &'static str,
    /// Empty: text alone.
    pub(super) html: &'static str,
}

/// All of them.
pub(super) const MAILS: &[Mail] = &[
    Mail {
        name: "welcome mail",
        to: "Ada Lovelace <ada@example.org>",
        subject: "Your pictures are on their way – schön, nicht?",
        text: "Dear Ada,\n\nthe thumbnails are being made.\n",
        html: "<p>Dear Ada,</p><p>the <b>thumbnails</b> are being made.</p>",
    },
    Mail {
        name: "plain mail",
        to: "charles@example.org",
        subject: "The same in plain text",
        text: "Dear Charles,\n\nno markup for you.\n",
        html: "",
    },
];

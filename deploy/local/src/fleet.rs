//! Starting, scaling and draining all processes, in order.
//!
//! One loop takes everything that can happen, an event of a process or a command, one at a time; each phase is a loop
//! around [`Fleet::step`] until its condition holds. So there is no lock, and the order of things can be read here:
//! NATS, Jaeger and the sinks of mails and webhooks, then the dispatcher, then workers; and back again.

mod member;
mod replicas;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::data::Data;
use crate::error::LocalError;
use crate::logs::Log;
use crate::process::{Change, Event, Keeper, Wish};
use crate::program::{Program, Role};
use crate::report::{Report, ReportedProcess};
use crate::roster::{Addresses, Roster};
use crate::scaling::{Replicas, Scaling};
use crate::terminal::Terminal;
use member::Member;

/// Deaths of a process that was never ready, after which a start is given up. Later ones are never given up.
const START_DEATHS_MAX: u32 = 5;
/// Longest time until all is ready.
const START_MAX: Duration = Duration::from_secs(120);
/// Commands that may wait; each comes from a person or a script.
const COMMANDS_MAX: usize = 16;

/// What a fleet can be told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Run this many replicas, and answer when they do.
    Scale { replicas: Replicas, answer: oneshot::Sender<Result<String, String>> },
    /// Stop in order.
    Drain,
    /// Stop at once.
    Kill,
}

/// Tells a fleet what to do.
pub(crate) type Commands = mpsc::Sender<Command>;

/// All processes, and who is told about them.
pub(crate) struct Fleet {
    data: Data,
    roster: Roster,
    terminal: Terminal,
    members: BTreeMap<String, Member>,
    scaling: Scaling,
    /// Those who asked for a scale that is not reached yet.
    scalers: Vec<(Replicas, oneshot::Sender<Result<String, String>>)>,
    events: mpsc::UnboundedReceiver<Event>,
    told: mpsc::UnboundedSender<Event>,
    commands: mpsc::Receiver<Command>,
    phase: Phase,
}

/// How far a fleet is. Only ever goes down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Starting,
    Up,
    Draining,
    Killed,
}

impl Fleet {
    /// A fleet of which nothing runs yet, and the way to tell it things.
    pub(crate) fn new(data: Data, roster: Roster, scaling: Scaling, terminal: Terminal) -> (Self, Commands) {
        let (told, events) = mpsc::unbounded_channel();
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let (members, scalers, phase) = (BTreeMap::new(), Vec::new(), Phase::Starting);
        (Self { data, roster, terminal, members, scaling, scalers, events, told, commands, phase }, sender)
    }

    /// Where everything will be.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.roster.addresses
    }

    /// Starts everything, says so through `ready`, and returns when all is drained.
    pub(crate) async fn run(mut self, ready: oneshot::Sender<Addresses>) -> Result<(), LocalError> {
        let mut done = self.start().await;
        if done.is_ok() {
            self.phase = Phase::Up;
            self.report();
            // Nobody has to wait for it.
            let _ = ready.send(self.roster.addresses.clone());
            while self.phase == Phase::Up && done.is_ok() {
                done = self.step().await;
            }
        }
        self.drain().await;
        done
    }

    async fn start(&mut self) -> Result<(), LocalError> {
        let deadline = Instant::now() + START_MAX;
        self.add(self.roster.nats())?;
        if let Some(jaeger) = self.roster.jaeger()? {
            self.add(jaeger)?;
        }
        for sink in self.roster.sinks()? {
            self.add(sink)?;
        }
        self.until_ready(deadline).await?;
        self.add(self.roster.dispatcher())?;
        // Workers would wait for the queues that it provisions, and warn that they do.
        self.until_ready(deadline).await?;
        for queue in self.scaling.keys().cloned().collect::<Vec<_>>() {
            self.fill(&queue)?;
        }
        self.until_ready(deadline).await
    }

    async fn until_ready(&mut self, deadline: Instant) -> Result<(), LocalError> {
        while self.members.values().any(|member| !member.ready) {
            match timeout_at(deadline, self.step()).await {
                Ok(done) => done?,
                Err(_) => return Err(self.not_ready()),
            }
            if let Some((name, member)) =
                self.members.iter().find(|(_, member)| member.start_deaths >= START_DEATHS_MAX)
            {
                let (name, last_words) = (name.clone(), member.log.last_words());
                let log = self.data.logs().join(format!("{name}.log"));
                return Err(LocalError::DoesNotStart { name, last_words, log });
            }
            if self.phase >= Phase::Draining {
                return Err(LocalError::Interrupted);
            }
        }
        Ok(())
    }

    /// Stops what is there, those first that lean on the others.
    async fn drain(&mut self) {
        self.phase = self.phase.max(Phase::Draining);
        for role in [Role::Worker, Role::Dispatcher, Role::Sink, Role::Jaeger, Role::Nats] {
            for member in self.members.values().filter(|member| member.role == role) {
                member.wish(Wish::Drain);
            }
            while self.members.values().any(|member| member.role == role) {
                if let Err(error) = self.step().await {
                    self.terminal.say(&format!("while draining: {error}"));
                }
            }
        }
        let _ = std::fs::remove_file(self.data.report());
    }

    /// Takes the next thing that happens.
    async fn step(&mut self) -> Result<(), LocalError> {
        tokio::select! {
            Some(event) = self.events.recv() => self.happened(event),
            command = self.commands.recv() => match command {
                Some(Command::Scale { replicas, answer }) => self.scale(replicas, answer)?,
                Some(Command::Drain) => self.phase = self.phase.max(Phase::Draining),
                // Nobody is left who could say anything: the end, too.
                Some(Command::Kill) | None => self.kill(),
            },
        }
        self.answer_scalers();
        if self.phase == Phase::Up || self.data.report().exists() {
            self.report();
        }
        Ok(())
    }

    fn happened(&mut self, Event { name, change }: Event) {
        let Some(member) = self.members.get_mut(&name) else { return };
        match change {
            Change::Started { pid } => member.pid = Some(pid),
            Change::Ready { admin } => {
                let at = admin.as_deref().map(|url| format!(" on {url}")).unwrap_or_default();
                let pid = member.pid.unwrap_or_default();
                (member.ready, member.admin) = (true, admin);
                self.terminal.say(&format!("{name}: ready{at} (pid {pid})"));
            }
            Change::Died { how, again_in } => {
                member.start_deaths += u32::from(!member.ready);
                (member.pid, member.ready, member.admin) = (None, false, None);
                self.terminal.say(&format!("{name}: {how}; starts again in {} ms", again_in.as_millis()));
            }
            Change::Gone { how } => {
                self.members.remove(&name);
                self.terminal.say(&format!("{name}: {how}"));
            }
        }
    }

    fn add(&mut self, program: Program) -> Result<(), LocalError> {
        let log = Log::create(&self.data.logs(), &program.name, &self.terminal)
            .map_err(LocalError::file(self.data.logs()))?;
        let (wish, wished) = watch::channel(Wish::Run);
        let member = Member {
            role: program.role,
            queue: program.queue.clone(),
            pid: None,
            ready: false,
            admin: None,
            start_deaths: 0,
            log: log.clone(),
            wish,
        };
        self.members.insert(program.name.clone(), member);
        tokio::spawn(Keeper { program, log, events: self.told.clone(), wish: wished }.keep());
        Ok(())
    }

    fn kill(&mut self) {
        if self.phase != Phase::Killed {
            self.terminal.say("killing everything");
        }
        self.phase = Phase::Killed;
        for member in self.members.values() {
            member.wish(Wish::Kill);
        }
    }

    /// Failing to write it must not stop a fleet; a script that waits for it will say so.
    fn report(&self) {
        let processes = self.members.values().filter_map(|member| {
            let (role, kind, admin) = (member.role, member.queue.clone(), member.admin.clone());
            member.pid.map(|pid| ReportedProcess { role, kind, pid, admin })
        });
        let report = Report::new(&self.roster.addresses, &self.data.root, processes.collect());
        if let Err(error) = report.write(&self.data.report()) {
            self.terminal.say(&format!("{}: {error}", self.data.report().display()));
        }
    }

    fn not_ready(&self) -> LocalError {
        let names: Vec<&str> =
            self.members.iter().filter(|(_, member)| !member.ready).map(|(name, _)| name.as_str()).collect();
        LocalError::NotReady { seconds: START_MAX.as_secs(), names: names.join(", "), logs: self.data.logs() }
    }
}

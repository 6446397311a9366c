//! More or fewer replicas of a worker, while the fleet is up.

use tokio::sync::oneshot;

use super::member::Member;
use super::{Fleet, Phase};
use crate::error::LocalError;
use crate::process::Wish;
use crate::scaling::{Replicas, unknown};

impl Fleet {
    /// Takes a wish for more or fewer replicas; it is answered when they are there, or gone.
    pub(super) fn scale(
        &mut self,
        replicas: Replicas,
        answer: oneshot::Sender<Result<String, String>>,
    ) -> Result<(), LocalError> {
        if self.phase != Phase::Up {
            let _ = answer.send(Err("the fleet is not up (it is starting or draining); try again".to_owned()));
            return Ok(());
        }
        let Some(count) = self.scaling.get_mut(&replicas.queue) else {
            let _ = answer.send(Err(unknown(&replicas.queue, self.scaling.keys()).to_string()));
            return Ok(());
        };
        *count = replicas.count;
        let queue = replicas.queue.clone();
        let (overtaken, kept) =
            std::mem::take(&mut self.scalers).into_iter().partition(|(asked, _)| asked.queue == queue);
        self.scalers = kept;
        for (_, answer) in overtaken {
            let _ = answer.send(Err("somebody else has scaled it meanwhile".to_owned()));
        }
        self.scalers.push((replicas, answer));
        self.fill(&queue)
    }

    /// Starts or drains replicas of `queue` until there are as many as wanted. The youngest go first.
    pub(super) fn fill(&mut self, queue: &str) -> Result<(), LocalError> {
        let wanted = self.scaling.get(queue).copied().unwrap_or_default();
        let of_queue = |member: &Member| member.queue.as_deref() == Some(queue) && *member.wish.borrow() == Wish::Run;
        let mut running: Vec<u32> =
            self.members.iter().filter(|(_, member)| of_queue(member)).filter_map(|(name, _)| number(name)).collect();
        running.sort_unstable();
        for number in running.iter().skip(wanted as usize) {
            if let Some(member) = self.members.get(&format!("{queue}-{number}")) {
                member.wish(Wish::Drain);
            }
        }
        let missing = (wanted as usize).saturating_sub(running.len());
        // A name is free again when its process has ended, so that two never write one log.
        let free: Vec<u32> =
            (1..).filter(|number| !self.members.contains_key(&format!("{queue}-{number}"))).take(missing).collect();
        for number in free {
            self.add(self.roster.worker(queue, number)?)?;
        }
        Ok(())
    }

    /// Answers those whose wish has come true.
    pub(super) fn answer_scalers(&mut self) {
        let up = self.phase == Phase::Up;
        for (asked, answer) in std::mem::take(&mut self.scalers) {
            let mut members =
                self.members.values().filter(|member| member.queue.as_deref() == Some(&asked.queue)).peekable();
            let reached = members.clone().count() == asked.count as usize && members.all(|member| member.ready);
            if !up {
                let _ = answer.send(Err("the fleet is draining".to_owned()));
            } else if reached {
                let _ = answer.send(Ok(format!("{}: {} replicas", asked.queue, asked.count)));
            } else {
                self.scalers.push((asked, answer));
            }
        }
    }
}

/// The number in a worker's name.
fn number(name: &str) -> Option<u32> {
    name.rsplit_once('-').and_then(|(_, number)| number.parse().ok())
}

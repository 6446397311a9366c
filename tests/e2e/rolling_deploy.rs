//! Old and new side by side. The next version of the kind `probe` has a field more, `loud`, and has lost many. What protobuf
//! does with a field that it does not know is the danger here: a worker of before would run the task, leave out what was
//! asked for, and call it completed.
//!
//! That the handing back ends, after 10 minutes, in a dead letter with the reason is shown by `workers/sdk/tests/worker`
//! (`a_field_that_no_worker_knew_for_ten_minutes_fails_the_task_and_is_named`): there it can be said how often a task was
//! handed back, so that nobody waits.

use std::time::Duration;

use serde_json::{Value, json};
use workfleet_proto::id::TaskId;
use workfleet_proto::names::{Names, header};
use workfleet_tests::{Answer, Fleet, Probe, QueueSettings, eventually, eventually_within};

const TASKS: &str = "/v1/queues/probe/tasks";
/// A task that was handed back stays away for 5 s.
const BACK_TIME_MAX: Duration = Duration::from_secs(60);

fn quiet(fleet: &Fleet, echo: &str) -> Value {
    fleet.logged(&Probe::echo(echo))
}

fn loud(fleet: &Fleet, echo: &str) -> Value {
    let mut task = quiet(fleet, echo);
    task["loud"] = json!(true);
    task
}

async fn post(fleet: &Fleet, task: &Value) -> Answer {
    fleet.http.post(TASKS).json(task).send().await
}

async fn accepted(fleet: &Fleet, task: &Value) -> String {
    post(fleet, task).await.expect(202).json()["id"].as_str().expect("an id").to_owned()
}

/// Waits until the dispatcher has learned the next contract, and gives the first task of it.
async fn first_loud(fleet: &Fleet) -> String {
    let task = loud(fleet, "first");
    let answer = eventually("the new field is taken", async || {
        let answer = post(fleet, &task).await;
        if answer.status == 202 {
            return Some(answer);
        }
        answer.expect_problem(422, "invalid_payload");
        None
    })
    .await;
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// How often workers have handed the copy back that is scheduled, and which attempt it is.
async fn backs(fleet: &Fleet, id: &str) -> Option<(u32, u32)> {
    let (names, task) = (Names::default(), id.parse::<TaskId>().expect("an id"));
    let stream = fleet.jetstream().await.get_stream(names.delay_stream(&task.queue())).await.expect("its stream");
    let copy = stream.get_last_raw_message_by_subject(&names.delay_at(&task)).await.ok()?;
    let number = |name: &str| copy.headers.get(name).and_then(|value| value.as_str().parse().ok());
    Some((number(header::SCHEMA_BACK)?, number(header::ATTEMPT)?))
}

/// Completed in its first attempt, by this process, with one execution and one result.
async fn completed_once(fleet: &Fleet, id: &str, pid: u32, echo: &str) {
    let completed = async || {
        let task = fleet.task(id).await;
        assert_ne!(task["state"], "failed", "{task:#}");
        (task["state"] == "completed").then_some(task)
    };
    let task = eventually_within(BACK_TIME_MAX, &format!("{id} completes"), completed).await;
    assert_eq!((&task["attempt"], &task["output"]["echo"]), (&json!(1), &json!(echo)), "{task:#}");
    let pids: Vec<u32> = fleet.runs_of(id).iter().map(|run| run.pid).collect();
    assert_eq!(pids, [pid], "{echo}");
    assert_eq!(fleet.observer.stores_of(id).await, 1, "{echo}");
}

async fn none_is_dead(fleet: &Fleet) {
    let queue = fleet.http.get("/v1/queues/probe").send().await.expect(200).json();
    assert_eq!(
        (&queue["dead"], &queue["waiting"], &queue["scheduled"]),
        (&json!(0), &json!(0), &json!(0)),
        "{queue:#}"
    );
}

#[tokio::test]
async fn what_says_something_new_waits_for_a_new_worker_and_everything_else_runs_on_the_old_one() {
    let mut fleet = Fleet::builder().slots(2).start().await;
    let mut before = Vec::new();
    for _ in 0..6 {
        before.push(fleet.submit(&Probe::echo("before").sleeps_ms(1_000).padding(10)).await);
    }
    fleet.provision_as("probe", QueueSettings::next_contract).await;
    let mut new = vec![first_loud(&fleet).await];
    for _ in 0..3 {
        new.push(accepted(&fleet, &loud(&fleet, "first")).await);
    }
    for id in &new {
        let back = eventually("it is handed back", async || backs(&fleet, id).await).await;
        assert_eq!(back.1, 1, "an attempt was spent");
    }
    let old = fleet.workers[0].pid();
    for id in &before {
        completed_once(&fleet, id, old, "before").await;
    }
    // Written with the new schema, and the old worker can read all of it.
    completed_once(&fleet, &accepted(&fleet, &quiet(&fleet, "plain")).await, old, "plain").await;

    // An old worker that starts in the middle of a deploy takes nothing back.
    fleet.workers[0].drain().await;
    fleet.add_worker("probe").await;
    let old = fleet.workers[1].pid();
    tokio::time::sleep(Duration::from_secs(3)).await;
    new.push(accepted(&fleet, &loud(&fleet, "first")).await);
    completed_once(&fleet, &accepted(&fleet, &quiet(&fleet, "plain")).await, old, "plain").await;

    fleet.add_next_probe().await;
    let next = fleet.workers[2].pid();
    for id in &new {
        completed_once(&fleet, id, next, "FIRST").await;
    }
    none_is_dead(&fleet).await;
}

#[tokio::test]
async fn an_old_dispatcher_and_a_new_worker_lose_nothing() {
    let mut fleet = Fleet::builder().workers("probe", 0).slots(2).start().await;
    let mut old = Vec::new();
    // `padding` is gone from the new contract: the new worker leaves it out on purpose.
    for _ in 0..4 {
        old.push(fleet.submit(&Probe::echo("old").padding(10)).await);
    }
    fleet.add_next_probe().await;
    let next = fleet.workers[0].pid();
    for id in &old {
        completed_once(&fleet, id, next, "old").await;
        assert_eq!(backs(&fleet, id).await, None);
    }
    // The same process of the dispatcher, which has the old contract in its file, learns the new one.
    completed_once(&fleet, &first_loud(&fleet).await, next, "FIRST").await;
    post(&fleet, &fleet.logged(&Probe::echo("gone").padding(10))).await.expect_problem(422, "invalid_payload");

    // An old dispatcher that starts with its old file goes back to the old contract, and says so to who sends a new field.
    fleet.replace_dispatcher().await;
    eventually("the new field is refused", async || {
        (post(&fleet, &loud(&fleet, "refused")).await.status == 422).then_some(())
    })
    .await;
    completed_once(&fleet, &fleet.submit(&Probe::echo("again")).await, next, "again").await;
    // What only the old contract has is for an old worker: the new one would leave it out, and now not on purpose.
    let waits = fleet.submit(&Probe::echo("padded").padding(10)).await;
    eventually("it is handed back", async || backs(&fleet, &waits).await).await;
    fleet.add_worker("probe").await;
    let old = fleet.workers[1].pid();
    completed_once(&fleet, &waits, old, "padded").await;
    none_is_dead(&fleet).await;
}

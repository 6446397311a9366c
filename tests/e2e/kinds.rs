use serde_json::json;
use workfleet_tests::Fleet;

/// One pixel.
const GIF: &str = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";

#[tokio::test]
async fn a_kind_that_appears_later_needs_no_new_dispatcher() {
    let mut fleet = Fleet::start().await;
    let payload = json!({"image": GIF, "width_px": 1, "height_px": 1});
    let submit = async |fleet: &Fleet| fleet.http.post("/v1/queues/thumbnail/tasks").json(&payload).send().await;
    submit(&fleet).await.expect_problem(404, "unknown_queue");

    fleet.provision("thumbnail").await;
    let early = workfleet_tests::eventually("the dispatcher knows the queue", async || {
        let answer = submit(&fleet).await;
        (answer.status == 202).then(|| answer.json()["id"].as_str().map(str::to_owned)).flatten()
    })
    .await;
    fleet.add_worker("thumbnail").await;
    let task = fleet.completed(&early).await;
    assert_eq!((&task["output"]["width_px"], &task["output"]["format"]), (&json!(1), &json!("FORMAT_PNG")), "{task:#}");

    let answer = submit(&fleet).await.expect(202);
    fleet.completed(answer.json()["id"].as_str().expect("an id")).await;
    let openapi = fleet.http.get("/openapi.json").send().await.expect(200).text();
    assert!(openapi.contains("ThumbnailRequest"), "the new kind is described");
}

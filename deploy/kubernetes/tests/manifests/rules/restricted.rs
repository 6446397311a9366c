//! Pod Security `restricted`, and a little more: a pod that breaks it is refused by the namespace, and only there.

use serde_json::Value;

use crate::objects::{Objects, Pod, label, list, text};

/// Volumes that the profile allows and that are used here.
const VOLUMES: [&str; 6] = ["configMap", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

pub(crate) fn mistakes(objects: &Objects) -> Vec<String> {
    let mut mistakes = Vec::new();
    for pod in objects.pods() {
        let wrong = of_pod(&pod).into_iter().chain(pod.containers().flat_map(of_container));
        mistakes.extend(wrong.map(|mistake| format!("{}: {mistake}", pod.owner)));
    }
    for account in objects.of("ServiceAccount") {
        if account["automountServiceAccountToken"] != false {
            mistakes.push(format!("{}: mounts its token", label(account)));
        }
    }
    mistakes
}

fn of_pod(pod: &Pod<'_>) -> Vec<String> {
    let context = &pod.spec["securityContext"];
    let mut mistakes = Vec::new();
    let mut must = |holds: bool, mistake: &str| {
        if !holds {
            mistakes.push(mistake.to_owned());
        }
    };
    must(context["runAsNonRoot"] == true, "runAsNonRoot is not true");
    must(context["runAsUser"].as_u64().is_some_and(|user| user > 0), "runAsUser is no number above 0");
    must(context["seccompProfile"]["type"] == "RuntimeDefault", "seccompProfile is not RuntimeDefault");
    must(pod.spec["automountServiceAccountToken"] == false, "mounts a token of the cluster");
    must(pod.spec["enableServiceLinks"] == false, "has variables of every Service");
    must(!matches!(text(&pod.spec["serviceAccountName"]), "" | "default"), "has no ServiceAccount of its own");
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        must(pod.spec[host] != true, host);
    }
    for volume in list(&pod.spec["volumes"]) {
        let kinds = volume.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).filter(|key| *key != "name");
        for kind in kinds.filter(|kind| !VOLUMES.contains(kind)) {
            mistakes.push(format!("volume {} is a {kind}", volume["name"]));
        }
    }
    mistakes
}

fn of_container(container: &Value) -> Vec<String> {
    let context = &container["securityContext"];
    let mut mistakes = Vec::new();
    let mut must = |holds: bool, mistake: &str| {
        if !holds {
            mistakes.push(format!("container {}: {mistake}", text(&container["name"])));
        }
    };
    must(context["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation is not false");
    must(context["readOnlyRootFilesystem"] == true, "its root is not read-only");
    must(context["privileged"] != true, "privileged");
    must(context["runAsNonRoot"] != false && context["runAsUser"] != 0, "runs as root");
    let dropped = list(&context["capabilities"]["drop"]);
    must(dropped.iter().any(|capability| capability == "ALL"), "does not drop ALL capabilities");
    must(list(&context["capabilities"]["add"]).is_empty(), "adds capabilities");
    must(list(&container["ports"]).iter().all(|port| port["hostPort"].is_null()), "takes a port of its node");
    let image = text(&container["image"]).rsplit('/').next().unwrap_or_default();
    must(image.contains([':', '@']) && !image.ends_with(":latest"), "its image has no fixed tag");
    mistakes
}

pub(crate) fn namespace(objects: &Objects) -> Vec<String> {
    let enforced =
        |namespace: &&Value| namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted";
    let lax = objects.of("Namespace").filter(|namespace| !enforced(namespace));
    let mut mistakes: Vec<String> = lax.map(|namespace| format!("{}: enforces nothing", label(namespace))).collect();
    if objects.of("Namespace").next().is_none() {
        mistakes.push("there is no Namespace".to_owned());
    }
    mistakes
}

/// Who says nothing is the first to be evicted, and who is not probed gets traffic before it can answer.
pub(crate) fn resources_and_probes(objects: &Objects) -> Vec<String> {
    let mut mistakes = Vec::new();
    for pod in objects.pods() {
        let is_job = pod.ends();
        for container in pod.containers() {
            let name = format!("{}: container {}", pod.owner, text(&container["name"]));
            let wanted = ["/requests/cpu", "/requests/memory", "/limits/memory"];
            let missing = wanted.iter().filter(|path| container["resources"].pointer(path).is_none());
            mistakes.extend(missing.map(|path| format!("{name}: no resources{path}")));
            let probes =
                ["readinessProbe", "livenessProbe"].into_iter().filter(|probe| !is_job && container[*probe].is_null());
            mistakes.extend(probes.map(|probe| format!("{name}: no {probe}")));
        }
        if pod.spec["terminationGracePeriodSeconds"].is_null() && !is_job {
            mistakes.push(format!("{}: no grace period", pod.owner));
        }
    }
    mistakes
}

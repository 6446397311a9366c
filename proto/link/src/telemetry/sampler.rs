//! Head sampling that follows links.
//!
//! A task that is delayed for long starts a trace of its own, linked to its submit. If a ratio were drawn for it anew,
//! most links would point to nothing; so a root takes over the decision of what it is linked to.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt as _, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingResult, ShouldSample};

use crate::config::Vars;

/// The sampler that the standard variables ask for, with roots that follow their links.
#[derive(Debug, Clone)]
pub(super) struct LinkAware {
    base: Sampler,
}

impl LinkAware {
    pub(super) fn read(vars: &mut Vars) -> Self {
        let name = vars.text("OTEL_TRACES_SAMPLER", "parentbased_always_on");
        let ratio: f64 = vars.parsed("OTEL_TRACES_SAMPLER_ARG", 1.0);
        let parent_based = |root: Sampler| Sampler::ParentBased(Box::new(root));
        let base = match name.as_str() {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(ratio),
            "parentbased_always_on" => parent_based(Sampler::AlwaysOn),
            "parentbased_always_off" => parent_based(Sampler::AlwaysOff),
            "parentbased_traceidratio" => parent_based(Sampler::TraceIdRatioBased(ratio)),
            other => {
                vars.mistake(format!("OTEL_TRACES_SAMPLER={other:?} is not a sampler that is known here"));
                Sampler::AlwaysOn
            }
        };
        Self { base }
    }
}

impl ShouldSample for LinkAware {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_root = !parent_context.is_some_and(|parent| parent.span().span_context().is_valid());
        let mut linked = links.iter().map(|link| &link.span_context).filter(|context| context.is_valid());
        if let (true, Some(first)) = (is_root, linked.next()) {
            let sampled = first.is_sampled() || linked.any(opentelemetry::trace::SpanContext::is_sampled);
            let follow = if sampled { Sampler::AlwaysOn } else { Sampler::AlwaysOff };
            return follow.should_sample(parent_context, trace_id, name, span_kind, attributes, links);
        }
        self.base.should_sample(parent_context, trace_id, name, span_kind, attributes, links)
    }
}

//! Logs on standard error, and the layer that turns `tracing` spans inside a handler into spans of the task's trace.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Full, Writer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

use crate::config::Vars;

/// What the trace layer never sees, whatever `RUST_LOG` says: the libraries below the exporter, whose spans would be
/// exported, which would make spans, and so on (86,982 of them in six seconds, once).
/// `workfleet_sdk::log` is the span that puts the task's id on a handler's log lines; the trace has its own.
const TRACED: &str = "info,h2=off,hyper=off,hyper_util=off,tonic=off,tower=off,reqwest=off,async_nats=off,opentelemetry=off,opentelemetry_sdk=off,opentelemetry_otlp=off,workfleet_sdk::log=off";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

/// What `RUST_LOG` and `WORKFLEET_LOG` ask for.
#[derive(Debug, Clone)]
pub(super) struct LogConfig {
    format: LogFormat,
    filter: String,
}

impl LogConfig {
    pub(super) fn read(vars: &mut Vars) -> Self {
        let format = match vars.text("WORKFLEET_LOG", "text").as_str() {
            "json" => LogFormat::Json,
            "text" => LogFormat::Text,
            other => {
                vars.mistake(format!("WORKFLEET_LOG={other:?}: must be text or json"));
                LogFormat::Text
            }
        };
        let filter = vars.text("RUST_LOG", "info,async_nats=warn");
        if let Err(error) = EnvFilter::try_new(&filter) {
            vars.mistake(format!("RUST_LOG={filter:?}: {error}"));
        }
        Self { format, filter }
    }
}

/// Does nothing where a subscriber is there already, as in a program that embeds the dispatcher.
pub(super) fn start(config: &LogConfig, traces: &SdkTracerProvider) {
    let filter = || EnvFilter::try_new(&config.filter).unwrap_or_default();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(traces.tracer("workfleet"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(EnvFilter::new(TRACED));
    let lines = tracing_subscriber::fmt::layer::<Registry>().with_writer(std::io::stderr);
    let lines = match config.format {
        LogFormat::Text => lines.event_format(WithTrace(Format::default())).with_filter(filter()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter()).boxed(),
    };
    let _ = tracing_subscriber::registry().with(lines).with(spans).try_init();
}

/// The default format, with the trace id at the end of each line that belongs to a trace.
struct WithTrace(Format<Full>);

impl<S, N> FormatEvent<S, N> for WithTrace
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let current = Context::current();
        let span = current.span();
        let span = span.span_context();
        if span.is_valid() {
            writeln!(writer, "{} trace_id={}", line.trim_end(), span.trace_id())
        } else {
            writer.write_str(&line)
        }
    }
}

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;
use workfleet_tests::workspace;

/// One expression, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Question {
    /// Where it stands, for messages.
    pub(crate) place: String,
    /// The name of the alert, if it is one.
    pub(crate) alert: Option<String>,
    /// The name of the series that it makes, if it is recorded.
    pub(crate) record: Option<String>,
    /// Which series it asks for.
    pub(crate) selectors: Vec<Selector>,
    /// Labels that it groups and joins by, and that its texts name.
    pub(crate) labels: BTreeSet<String>,
    /// Labels that it makes itself.
    pub(crate) made: BTreeSet<String>,
}

/// A metric with the labels that it is chosen by, and which values they are to have; none where it is not said in full.
#[derive(Debug)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    pub(crate) matchers: BTreeMap<String, Vec<String>>,
}

impl Question {
    pub(crate) fn read(place: String, expression: &str) -> Self {
        let expression = expression.replace("$__rate_interval", "5m");
        let tree = parser::parse(&expression).unwrap_or_else(|error| panic!("{place}: {error}\n{expression}"));
        let mut question = Self { place, ..Self::default() };
        walk_expr(&mut question, &tree).expect("it cannot fail");
        assert!(!question.selectors.is_empty(), "{}: asks for nothing", question.place);
        question
    }

    fn select(&mut self, selector: &VectorSelector) {
        let metric = selector.name.clone().unwrap_or_else(|| panic!("{}: a selector without a name", self.place));
        let matchers = selector.matchers.matchers.iter().map(|matcher| (matcher.name.clone(), values(matcher)));
        self.selectors.push(Selector { metric, matchers: matchers.collect() });
    }

    fn group(&mut self, modifier: Option<&LabelModifier>) {
        if let Some(LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) = modifier {
            self.labels.extend(labels.labels.iter().cloned());
        }
    }
}

impl ExprVisitor for Question {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, node: &Expr) -> Result<bool, Self::Error> {
        match node {
            Expr::VectorSelector(selector) => self.select(selector),
            Expr::MatrixSelector(matrix) => self.select(&matrix.vs),
            Expr::Aggregate(aggregate) => self.group(aggregate.modifier.as_ref()),
            Expr::Binary(binary) => {
                self.group(binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()));
            }
            Expr::Call(call) if call.func.name == "label_replace" => {
                let text = |at: usize| match call.args.args.get(at).map(AsRef::as_ref) {
                    Some(Expr::StringLiteral(literal)) => literal.val.clone(),
                    _ => String::new(),
                };
                self.made.insert(text(1));
                self.labels.insert(text(3));
            }
            _ => {}
        }
        Ok(true)
    }
}

/// The values that a matcher names in full: `a|b` are two, a pattern or a variable is none.
fn values(matcher: &Matcher) -> Vec<String> {
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '|');
    match matcher.op {
        MatchOp::Equal => vec![matcher.value.clone()],
        MatchOp::Re(_) if plain(&matcher.value) => matcher.value.split('|').map(ToOwned::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn rules() -> Value {
    let path = workspace().join("deploy/kubernetes/components/monitoring/rules.yaml");
    let text = std::fs::read_to_string(path).expect("the rules are there");
    serde_saphyr::from_str(&text).expect("the rules are YAML")
}

/// The rules as Prometheus itself reads them; JSON is YAML.
pub(crate) fn rules_file() -> String {
    rules()["spec"].to_string()
}

/// Every rule, recording ones included.
pub(crate) fn alerts() -> Vec<Question> {
    let rules = rules();
    let groups = rules["spec"]["groups"].as_array().expect("groups").iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().expect("rules"));
    rules.map(rule).collect()
}

fn rule(rule: &Value) -> Question {
    let name = |key: &str| rule[key].as_str().map(ToOwned::to_owned);
    let (alert, record) = (name("alert"), name("record"));
    let place = alert.clone().or_else(|| record.clone()).expect("a rule has a name");
    let question = Question::read(place, rule["expr"].as_str().expect("a rule has an expression"));
    let mut question = Question { alert, record, ..question };
    if question.alert.is_some() {
        for text in ["summary", "description", "runbook"] {
            let text = rule["annotations"][text].as_str().unwrap_or_else(|| panic!("{}: no {text}", question.place));
            question.labels.extend(named(text, "$labels."));
        }
        let severity = rule["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("warning" | "critical")), "{}: {severity:?}", question.place);
    }
    question
}

/// The words that follow `mark` in a text.
fn named<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = String> + 'a {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    text.split(mark).skip(1).map(word)
}

/// Every query of the dashboard, and those of its variables.
pub(crate) fn dashboard() -> Vec<Question> {
    let path = workspace().join("deploy/grafana/workfleet.json");
    let text = std::fs::read_to_string(path).expect("the dashboard is there");
    let dashboard: Value = serde_json::from_str(&text).expect("the dashboard is JSON");
    let mut questions = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a panel has a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}: a data source of its own");
            let mut question = Question::read(format!("panel {title:?}"), target["expr"].as_str().expect("a query"));
            question.labels.extend(named(target["legendFormat"].as_str().expect("a legend"), "{{"));
            questions.push(question);
        }
    }
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let query = variable["definition"].as_str().and_then(|query| query.strip_prefix("label_values("));
        let Some(query) = query else { continue };
        let (series, label) = query.trim_end_matches(')').rsplit_once(", ").expect("series and label");
        let mut question = Question::read(format!("variable {}", variable["name"]), series);
        question.labels.insert(label.to_owned());
        questions.push(question);
    }
    questions
}

//! Any statement, judged by a CEL expression over `predicate` and `subject`.
//!
//! Only `true` is true: an error, another value and what is too large to be evaluated are not. The
//! language ends always, but its libraries count no cost, so the cost is bounded before: how deep
//! macros are nested, how many parts the expression has, and how large the statement is.

use std::collections::HashMap;
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::objects::{Key, Map};
use cel::{Context, Env, Program, Value as Cel};
use serde_json::Value;
use tidegate_schemas::CustomRequirement;

use super::Accepted;
use crate::proof::Proved;
use crate::shortcoming::printable;
use crate::{Error, Subject};

/// How long an expression may be, in bytes; as the schema has it.
const LONGEST: usize = 2048;
/// How deep macros may be nested (`all` in `exists`).
const NESTED: u32 = 2;
/// How deep an expression may be.
const DEEPEST: usize = 100;
/// How deep brackets may be nested.
const BRACKETS: usize = 32;
/// The stack that parsing and evaluation have, in bytes. The parser takes up to 200 kB a bracket,
/// and a stack that is exceeded ends the whole program.
const STACK: usize = 64 << 20;
/// How many values a statement may have.
const VALUES: usize = 50_000;
/// How many bytes of text a statement may have.
const BYTES: usize = 1 << 20;
/// What evaluation may cost at most, by `cost`. Measured: the worst there is (a list compared with
/// itself in a macro over itself) takes about 15 seconds in an unoptimised program.
const COST: u64 = 50_000_000;

/// An expression that must be true.
#[derive(Clone)]
pub(super) struct CustomRule {
    name: String,
    predicate_type: String,
    message: Option<String>,
    program: Arc<Program>,
    size: Size,
}

/// How large an expression is.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    parts: u64,
    nested: u32,
}

/// How large a statement is.
#[derive(Debug, Default)]
struct Weight {
    values: usize,
    bytes: usize,
    /// The longest text.
    text: usize,
    /// The most elements of a list or object.
    wide: usize,
}

impl CustomRule {
    pub(super) fn new(stated: &CustomRequirement) -> Result<Self, Error> {
        let wrong = |why: String| Error::Attestation {
            field: format!("custom.rule of {}", stated.name),
            why,
        };
        if stated.rule.len() > LONGEST {
            return Err(wrong(format!("it is longer than {LONGEST} bytes")));
        }
        if brackets(&stated.rule) > BRACKETS {
            return Err(wrong(format!("brackets are nested deeper than {BRACKETS}")));
        }
        let (program, size) = with_stack(|| compile(&stated.rule))
            .unwrap_or_else(|| Err("it cannot be compiled".to_owned()))
            .map_err(wrong)?;
        Ok(Self {
            name: stated.name.clone(),
            predicate_type: stated.type_.clone(),
            message: stated.message.clone(),
            program: Arc::new(program),
            size,
        })
    }

    pub(super) fn predicate_type(&self) -> &str {
        &self.predicate_type
    }

    pub(super) fn describe(&self) -> String {
        format!("{} (a statement of type {})", self.name, self.predicate_type)
    }

    pub(super) fn judge(
        &self,
        statement: &Proved,
        subject: &Subject,
    ) -> Result<Accepted, Vec<String>> {
        let wrong = |why: String| vec![format!("rule {}: {why}", self.name)];
        let weight = Weight::of(&statement.predicate).map_err(wrong)?;
        if self.cost(&weight) > COST {
            return Err(wrong(
                "the statement is too large for it to be evaluated; nest fewer macros, or state \
                 less"
                    .to_owned(),
            ));
        }
        match with_stack(|| self.evaluate(statement, subject)) {
            Some(Ok(true)) => Ok(Accepted::of(format!("{} holds", self.name))),
            Some(Ok(false)) => Err(wrong(
                self.message
                    .clone()
                    .unwrap_or_else(|| "the statement does not satisfy it".to_owned()),
            )),
            Some(Err(why)) => Err(wrong(why)),
            None => Err(wrong("it cannot be evaluated".to_owned())),
        }
    }

    fn evaluate(&self, statement: &Proved, subject: &Subject) -> Result<bool, String> {
        let mut context = Context::default();
        context.add_variable_from_value("predicate", cel(&statement.predicate));
        let image = &subject.image;
        let named = serde_json::json!({"name": image.repository, "digest": image.digest});
        context.add_variable_from_value("subject", cel(&named));
        match self.program.execute(&context) {
            Ok(Cel::Bool(answer)) => Ok(answer),
            Ok(other) => Err(format!("it gives {:?} instead of true or false", other.type_of())),
            Err(error) => Err(format!("it cannot be evaluated: {}", printable(&error.to_string()))),
        }
    }

    /// How much evaluation can cost: each part as often as nested macros repeat it, and more where
    /// texts or whole values are compared.
    fn cost(&self, weight: &Weight) -> u64 {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let often = (count(weight.wide) + 1).saturating_pow(self.size.nested);
        let each = 1 + count(weight.text) / 256 + count(weight.values) / 32;
        self.size.parts.saturating_mul(often).saturating_mul(each)
    }
}

impl std::fmt::Debug for CustomRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CustomRule").field("asks", &self.describe()).finish_non_exhaustive()
    }
}

impl Weight {
    fn of(value: &Value) -> Result<Self, String> {
        let mut weight = Self::default();
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            weight.values += 1;
            match value {
                Value::String(text) => weight.text(text),
                Value::Array(items) => {
                    weight.wide = weight.wide.max(items.len());
                    open.extend(items);
                }
                Value::Object(fields) => {
                    weight.wide = weight.wide.max(fields.len());
                    for (key, value) in fields {
                        weight.text(key);
                        open.push(value);
                    }
                }
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
            if weight.values > VALUES || weight.bytes > BYTES {
                return Err(format!(
                    "the statement has more than {VALUES} values or {BYTES} bytes of text, and is \
                     too large for it to be evaluated"
                ));
            }
        }
        Ok(weight)
    }

    fn text(&mut self, text: &str) {
        self.bytes += text.len();
        self.text = self.text.max(text.len());
    }
}

fn compile(rule: &str) -> Result<(Program, Size), String> {
    let program = Env::stdlib().compile(rule).map_err(|errors| match errors.errors.first() {
        Some(error) => format!("line {}, column {}: {}", error.pos.0, error.pos.1 + 1, error.msg),
        None => "it is no CEL expression".to_owned(),
    })?;
    let size = measure(program.expression())?;
    Ok((program, size))
}

/// Runs this with a stack that is large enough; `None` where there is no thread to be had, or where
/// the library panics.
fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        thread.ok()?.join().ok()
    })
}

/// How deep brackets are nested; those in texts count, too.
fn brackets(rule: &str) -> usize {
    let (mut deep, mut deepest) = (0_usize, 0);
    for byte in rule.bytes() {
        match byte {
            b'(' | b'[' | b'{' => deep += 1,
            b')' | b']' | b'}' => deep = deep.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(deep);
    }
    deepest
}

/// How large an expression is; too deep is refused.
fn measure(expression: &IdedExpr) -> Result<Size, String> {
    let mut size = Size::default();
    let mut open = vec![(expression, 0_u32, 0_usize)];
    while let Some((part, nested, deep)) = open.pop() {
        size.parts += 1;
        size.nested = size.nested.max(nested);
        if nested > NESTED {
            return Err(format!("macros are nested deeper than {NESTED}"));
        }
        if deep > DEEPEST {
            return Err(format!("it is nested deeper than {DEEPEST}"));
        }
        let mut below = |part, nested| open.push((part, nested, deep + 1));
        match &part.expr {
            Expr::Call(call) => {
                call.target.iter().for_each(|target| below(target, nested));
                call.args.iter().for_each(|arg| below(arg, nested));
            }
            Expr::Comprehension(each) => {
                below(&each.iter_range, nested);
                below(&each.accu_init, nested);
                below(&each.result, nested);
                below(&each.loop_cond, nested + 1);
                below(&each.loop_step, nested + 1);
            }
            Expr::List(list) => list.elements.iter().for_each(|one| below(one, nested)),
            Expr::Map(map) => entries(map.entries.iter().map(|one| &one.expr), nested, &mut below),
            Expr::Struct(one) => {
                entries(one.entries.iter().map(|one| &one.expr), nested, &mut below);
            }
            Expr::Select(select) => below(&select.operand, nested),
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        }
    }
    Ok(size)
}

fn entries<'a>(
    entries: impl Iterator<Item = &'a EntryExpr>,
    nested: u32,
    below: &mut impl FnMut(&'a IdedExpr, u32),
) {
    for entry in entries {
        match entry {
            EntryExpr::StructField(field) => below(&field.value, nested),
            EntryExpr::MapEntry(entry) => {
                below(&entry.key, nested);
                below(&entry.value, nested);
            }
        }
    }
}

/// JSON as CEL has it. A whole number is an `int`, as Kubernetes has it, so that `== 1` means what
/// it says.
fn cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => number
            .as_i64()
            .map_or_else(|| Cel::Float(number.as_f64().unwrap_or(f64::NAN)), Cel::Int),
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(cel).collect())),
        Value::Object(fields) => {
            let entry =
                |(key, value): (&String, &Value)| (Key::String(Arc::new(key.clone())), cel(value));
            let map: HashMap<_, _> = fields.iter().map(entry).collect();
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

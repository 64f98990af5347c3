//! Expressions: JMESPath (jmespath.org/specification.html), parsed by the library, checked here.
//!
//! The library's own interpreter has no bounds: eight characters double a list, and two hundred take a gigabyte. So its tree is
//! turned into one of ours, which [`run_expression`](crate::run_expression) walks within bounds. Its parser descends once
//! for each opening, so these are counted before it sees the text.

use jmespath::ast::{Ast, Comparator};
use serde_json::Value;

use crate::fault::Fault;

/// The most bytes one expression may have.
pub const EXPRESSION_BYTES_MAX: usize = 512;

/// The most characters of `( [ { * ! &` one expression may have, which is how deep its parser can descend.
pub const EXPRESSION_OPENINGS_MAX: usize = 32;

/// An expression that can be evaluated.
#[derive(Clone, PartialEq, Debug)]
pub struct Expression {
    pub(crate) node: Node,
}

/// What an expression asks of its scope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reference {
    /// The output of a step.
    Step(String),
    /// A header of the answer that a step had.
    Header { step: String, name: String },
    /// Something that the scope does not have.
    Unknown(String),
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Node {
    Current,
    Field(String),
    Index(i32),
    Slice {
        start: Option<i32>,
        stop: Option<i32>,
        step: i32,
    },
    Literal(Value),
    /// The second is evaluated on what the first gives.
    Then(Box<Self>, Box<Self>),
    /// The second is evaluated on each item of what the first gives.
    Each(Box<Self>, Box<Self>),
    Values(Box<Self>),
    Flatten(Box<Self>),
    /// The second, if the first holds.
    If(Box<Self>, Box<Self>),
    Compare(Comparison, Box<Self>, Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    List(Vec<Self>),
    Hash(Vec<(String, Self)>),
    Call(Function, Vec<Self>),
    /// `&expression`: for [`Function::Map`].
    Lazy(Box<Self>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The functions there are. Those on numbers are exact, on integers of 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Function {
    Add,
    Contains,
    Divide,
    EndsWith,
    Join,
    Keys,
    Length,
    Map,
    Max,
    Merge,
    Min,
    Multiply,
    NotNull,
    StartsWith,
    Subtract,
    Sum,
    ToString,
    Type,
    Values,
}

/// Name, function, and how many arguments it takes: at least, at most, in words.
const FUNCTIONS: &[(&str, Function, usize, usize, &str)] = &[
    ("add", Function::Add, 2, 2, "two arguments"),
    ("contains", Function::Contains, 2, 2, "two arguments"),
    ("divide", Function::Divide, 2, 2, "two arguments"),
    ("ends_with", Function::EndsWith, 2, 2, "two arguments"),
    ("join", Function::Join, 2, 2, "two arguments"),
    ("keys", Function::Keys, 1, 1, "one argument"),
    ("length", Function::Length, 1, 1, "one argument"),
    ("map", Function::Map, 2, 2, "an expression that begins with `&`, and a list"),
    ("max", Function::Max, 1, 1, "one argument"),
    ("merge", Function::Merge, 1, usize::MAX, "one argument or more"),
    ("min", Function::Min, 1, 1, "one argument"),
    ("multiply", Function::Multiply, 2, 2, "two arguments"),
    ("not_null", Function::NotNull, 1, usize::MAX, "one argument or more"),
    ("starts_with", Function::StartsWith, 2, 2, "two arguments"),
    ("subtract", Function::Subtract, 2, 2, "two arguments"),
    ("sum", Function::Sum, 1, 1, "one argument"),
    ("to_string", Function::ToString, 1, 1, "one argument"),
    ("type", Function::Type, 1, 1, "one argument"),
    ("values", Function::Values, 1, 1, "one argument"),
];

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    /// [`Fault::ExpressionTooLong`], [`Fault::ExpressionTooNested`], [`Fault::Expression`], [`Fault::UnknownFunction`]
    /// and [`Fault::Arguments`].
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(Fault::ExpressionTooLong { bytes: text.len() });
        }
        let openings = text.bytes().filter(|byte| matches!(byte, b'(' | b'[' | b'{' | b'*' | b'!' | b'&')).count();
        if openings > EXPRESSION_OPENINGS_MAX {
            return Err(Fault::ExpressionTooNested);
        }
        let ast = jmespath::parse(text).map_err(|error| explain(&error))?;
        Ok(Self { node: node(ast)? })
    }

    /// What it asks of its scope, as far as that can be told without evaluating it.
    pub(crate) fn references(&self) -> Vec<Reference> {
        let mut found = Vec::new();
        self.node.at_root(&mut found);
        found
    }
}

fn explain(error: &jmespath::JmespathError) -> Fault {
    let what = match &error.reason {
        jmespath::ErrorReason::Parse(what) => what.trim().to_owned(),
        jmespath::ErrorReason::Runtime(what) => what.to_string(),
    };
    Fault::Expression(format!("{what}, at character {}", error.column + 1))
}

fn node(ast: Ast) -> Result<Node, Fault> {
    let boxed = |ast: Box<Ast>| node(*ast).map(Box::new);
    Ok(match ast {
        Ast::Identity { .. } => Node::Current,
        Ast::Field { name, .. } => Node::Field(name),
        Ast::Index { idx, .. } => Node::Index(idx),
        Ast::Slice { step: 0, .. } => return Err(Fault::Expression("a slice cannot step by 0".to_owned())),
        Ast::Slice { start, stop, step, .. } => Node::Slice { start, stop, step },
        Ast::Literal { value, .. } => {
            let value = serde_json::to_value(&*value);
            Node::Literal(value.map_err(|error| Fault::Expression(error.to_string()))?)
        }
        Ast::Subexpr { ref lhs, .. } if matches!(**lhs, Ast::Not { .. }) => {
            // To JMESPath `!a.b` is `(!a).b`, which is null whatever `a` is; whoever writes it means something else.
            return Err(Fault::Expression("`!` is only of the name beside it: write `!(a.b)`".to_owned()));
        }
        Ast::Subexpr { lhs, rhs, .. } => Node::Then(boxed(lhs)?, boxed(rhs)?),
        Ast::Projection { lhs, rhs, .. } => Node::Each(boxed(lhs)?, boxed(rhs)?),
        Ast::ObjectValues { node, .. } => Node::Values(boxed(node)?),
        Ast::Flatten { node, .. } => Node::Flatten(boxed(node)?),
        Ast::Condition { predicate, then, .. } => Node::If(boxed(predicate)?, boxed(then)?),
        Ast::Comparison { comparator, lhs, rhs, .. } => {
            Node::Compare(comparison(&comparator), boxed(lhs)?, boxed(rhs)?)
        }
        Ast::And { lhs, rhs, .. } => Node::And(boxed(lhs)?, boxed(rhs)?),
        Ast::Or { lhs, rhs, .. } => Node::Or(boxed(lhs)?, boxed(rhs)?),
        Ast::Not { node, .. } => Node::Not(boxed(node)?),
        Ast::MultiList { elements, .. } => Node::List(elements.into_iter().map(node).collect::<Result<_, _>>()?),
        Ast::MultiHash { elements, .. } => {
            let pairs = elements.into_iter().map(|pair| Ok((pair.key, node(pair.value)?)));
            Node::Hash(pairs.collect::<Result<_, Fault>>()?)
        }
        Ast::Expref { ast, .. } => Node::Lazy(boxed(ast)?),
        Ast::Function { name, args, .. } => call(name, args)?,
    })
}

fn call(name: String, args: Vec<Ast>) -> Result<Node, Fault> {
    let Some((_, function, least, most, takes)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
        return Err(Fault::UnknownFunction { name });
    };
    let arguments = args.into_iter().map(node).collect::<Result<Vec<_>, _>>()?;
    let lazy = arguments.iter().filter(|argument| matches!(argument, Node::Lazy(_))).count();
    let is_lazy_right = match function {
        Function::Map => lazy == 1 && matches!(arguments[0], Node::Lazy(_)),
        _ => lazy == 0,
    };
    if !(*least..=*most).contains(&arguments.len()) || !is_lazy_right {
        return Err(Fault::Arguments { name, takes });
    }
    Ok(Node::Call(*function, arguments))
}

const fn comparison(comparator: &Comparator) -> Comparison {
    match comparator {
        Comparator::Equal => Comparison::Equal,
        Comparator::NotEqual => Comparison::NotEqual,
        Comparator::LessThan => Comparison::Less,
        Comparator::LessThanEqual => Comparison::LessOrEqual,
        Comparator::GreaterThan => Comparison::Greater,
        Comparator::GreaterThanEqual => Comparison::GreaterOrEqual,
    }
}

impl Node {
    /// Adds what this asks of the scope when it is evaluated on the scope itself.
    fn at_root(&self, found: &mut Vec<Reference>) {
        let mut unknown = |name: &str| found.push(Reference::Unknown(name.to_owned()));
        match self {
            Self::Literal(_) | Self::Lazy(_) => {}
            Self::Field(name) if name == "input" || name == "run" => {}
            Self::Field(name) => unknown(name),
            Self::Current | Self::Index(_) | Self::Slice { .. } => unknown("@"),
            Self::Then(first, second) => match (&**first, &**second) {
                (Self::Field(name), Self::Field(id)) if name == "steps" => found.push(Reference::Step(id.clone())),
                (_, Self::Field(name)) => {
                    first.at_root(found);
                    let header = first.headers_of().map(|step| (step.to_owned(), name.clone()));
                    found.extend(header.map(|(step, name)| Reference::Header { step, name }));
                }
                _ => first.at_root(found),
            },
            Self::Each(first, _) | Self::Values(first) | Self::Flatten(first) | Self::Not(first) => {
                first.at_root(found);
            }
            Self::Compare(_, first, second)
            | Self::And(first, second)
            | Self::Or(first, second)
            | Self::If(first, second) => {
                first.at_root(found);
                second.at_root(found);
            }
            Self::List(items) | Self::Call(_, items) => items.iter().for_each(|item| item.at_root(found)),
            Self::Hash(pairs) => pairs.iter().for_each(|(_, item)| item.at_root(found)),
        }
    }
}

impl Node {
    /// The step whose answer's headers this is: `steps.<id>.headers`.
    fn headers_of(&self) -> Option<&str> {
        let Self::Then(first, second) = self else { return None };
        let (Self::Then(root, id), Self::Field(name)) = (&**first, &**second) else { return None };
        match (&**root, &**id) {
            (Self::Field(root), Self::Field(id)) if root == "steps" && name == "headers" => Some(id),
            _ => None,
        }
    }
}

impl Function {
    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        let row = FUNCTIONS.iter().find(|(_, function, ..)| *function == self);
        row.map(|(name, ..)| *name).expect("each function has its row, as a test checks")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[Reference]) {
        assert_eq!(Expression::parse(text).expect(text).references(), expected, "{text}");
    }

    #[track_caller]
    fn check_bad(text: &str, expected: &str) {
        assert_eq!(Expression::parse(text).expect_err(text).to_string(), expected, "{text}");
    }

    fn step(id: &str) -> Reference {
        Reference::Step(id.to_owned())
    }

    fn unknown(name: &str) -> Reference {
        Reference::Unknown(name.to_owned())
    }

    #[test]
    fn what_is_asked_of_the_scope() {
        check("input.cart.total", &[]);
        check("steps.pay.id", &[step("pay")]);
        check("steps.\"a/b-c\".body.items[0].x", &[step("a/b-c")]);
        check("add(steps.a.n, steps.b.n) || run.id", &[step("a"), step("b")]);
        check("{x: steps.a, y: [steps.b, input]}", &[step("a"), step("b")]);
        check("steps.a.list[?n > `1`].n | [0]", &[step("a")]);
        check("map(&steps.x, input.list)", &[]);
        check("steps", &[unknown("steps")]);
        check("steps.*", &[unknown("steps")]);
        check("keys(@)", &[unknown("@")]);
        check("inptu.x", &[unknown("inptu")]);
        check("[0]", &[unknown("@")]);
        check("input[*].a.b | [?x].y", &[]);
    }

    #[test]
    fn bad() {
        check_bad(
            "a..b",
            "not an expression: Expected identifier, '*', '{', '[', '&', or '[?' -- found Dot, at character 3",
        );
        check_bad("", "not an expression: Unexpected nud token -- found Eof, at character 1");
        check_bad("!input.a", "not an expression: `!` is only of the name beside it: write `!(a.b)`");
        check_bad("shell('x')", "there is no function `shell`");
        check_bad("add(`1`)", "`add` takes two arguments");
        check_bad("map(input, input)", "`map` takes an expression that begins with `&`, and a list");
        check_bad("length(&input)", "`length` takes one argument");
        check_bad("input[::0]", "not an expression: a slice cannot step by 0");
        check_bad(&"a".repeat(513), "an expression has at most 512 bytes, this has 513");
        check_bad(&"[@,@][]|".repeat(40), "an expression has at most 32 of `( [ { * ! &`");
    }

    #[test]
    fn each_function_has_its_row() {
        for (name, function, ..) in FUNCTIONS {
            assert_eq!(function.name(), *name);
        }
        assert!(FUNCTIONS.is_sorted_by_key(|(name, ..)| *name));
    }

    /// The deepest texts that the bounds let through, on a quarter of the stack that threads have by default.
    #[test]
    fn what_is_parsed_fits_the_stack() {
        let shapes =
            ["!(", "[", "{a:", "a[*]", "*.", "[?", "a[?", "&", "length(", "a.", "a|", "a||", "a==", "a[0]", "[::]"];
        let parse = move || {
            for shape in shapes {
                let openings = shape.bytes().filter(|byte| b"([{*!&".contains(byte)).count();
                let times = EXPRESSION_OPENINGS_MAX.checked_div(openings).unwrap_or(usize::MAX);
                let times = times.min(EXPRESSION_BYTES_MAX / shape.len() - 1);
                let _ = Expression::parse(&format!("{}a", shape.repeat(times)));
            }
        };
        std::thread::Builder::new().stack_size(512 * 1024).spawn(parse).expect("a thread").join().expect("no overflow");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[a-c.\\[\\]{}()*!&|<=>`'\",:@0-9 ?-]{0,40}") {
            let _ = Expression::parse(&text);
        }
    }
}

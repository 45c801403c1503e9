//! Statement texts and how they become statements: the SQL is constant, the schema is the user's, so each store renders
//! its statements once, when it is built.

use crate::schema::SchemaName;
use crate::session::Statement;

/// Name and SQL. `{schema}` stands for the quoted schema, `{schema_in_literal}` for the same within a string literal.
pub(crate) type Text = (&'static str, &'static str);

/// The statement of `text` in `schema`.
pub(crate) fn render(schema: &SchemaName, (name, sql): Text) -> Statement {
    Statement::new(name, &render_sql(schema, sql))
}

/// The SQL of `sql` in `schema`.
pub(crate) fn render_sql(schema: &SchemaName, sql: &str) -> String {
    sql.replace("{schema_in_literal}", &schema.quoted().replace('\'', "''")).replace("{schema}", schema.quoted())
}

/// A struct of rendered statements, one field each.
macro_rules! statements {
    ($(#[$doc:meta])* $name:ident { $($field:ident = $text:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name {
            $(pub(crate) $field: $crate::session::Statement,)*
        }

        impl $name {
            pub(crate) fn render(schema: &$crate::schema::SchemaName) -> Self {
                Self { $($field: $crate::statements::render(schema, $text),)* }
            }

            pub(crate) fn all(&self) -> Vec<&$crate::session::Statement> {
                vec![$(&self.$field),*]
            }
        }
    };
}
pub(crate) use statements;

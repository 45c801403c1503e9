//! What expressions are made of: types, their literals and columns, and forms with places for arguments.

/// The types that expressions are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ty {
    Bool,
    Int2,
    Int4,
    Int8,
    Numeric,
    Text,
    Jsonb,
    Timestamptz,
    Timestamp,
    Interval,
    Ints,
    Bigs,
    Texts,
}

use Ty::{Bigs, Bool, Int2, Int4, Int8, Interval, Ints, Jsonb, Numeric, Text, Texts, Timestamp, Timestamptz};

pub(crate) const NUMBERS: [Ty; 4] = [Int4, Int2, Int8, Numeric];
pub(crate) const ARRAYS: [Ty; 3] = [Ints, Texts, Bigs];
/// What a table can hold here, and what can be sorted. Text and integers weigh more; intervals and timestamps less.
pub(crate) const ANY: [Ty; 20] = [
    Int4,
    Int4,
    Int4,
    Int2,
    Int8,
    Int8,
    Numeric,
    Numeric,
    Text,
    Text,
    Text,
    Bool,
    Bool,
    Jsonb,
    Jsonb,
    Timestamptz,
    Ints,
    Texts,
    Bigs,
    Timestamp,
];

impl Ty {
    /// Its columns in the table `v`.
    pub(crate) fn columns(self) -> &'static [&'static str] {
        match self {
            Bool => &["p", "q"],
            Int2 => &["s"],
            Int4 => &["i", "j", "id"],
            Int8 => &["b"],
            Numeric => &["n"],
            Text => &["t", "u"],
            Jsonb => &["o"],
            Timestamptz => &["z"],
            Ints => &["ia"],
            Texts => &["ta"],
            Timestamp | Interval | Bigs => &[],
        }
    }

    pub(crate) fn literals(self) -> &'static [&'static str] {
        match self {
            Bool => BOOL_LITERALS,
            Int2 => INT2_LITERALS,
            Int4 => INT4_LITERALS,
            Int8 => INT8_LITERALS,
            Numeric => NUMERIC_LITERALS,
            Text => TEXT_LITERALS,
            Jsonb => JSONB_LITERALS,
            Timestamptz => TIMESTAMPTZ_LITERALS,
            Timestamp => TIMESTAMP_LITERALS,
            Interval => INTERVAL_LITERALS,
            Ints => INTS_LITERALS,
            Bigs => BIGS_LITERALS,
            Texts => TEXTS_LITERALS,
        }
    }

    /// Literals without a type, which get theirs where they stand.
    pub(crate) fn untyped(self) -> &'static [&'static str] {
        match self {
            Bool => &["NULL", "'t'", "'no'"],
            Int2 | Int4 | Int8 => &["NULL", "'3'", "' 4 '", "'x'", "'99999999999'", "'1.5'"],
            Numeric => &["NULL", "'1.50'", "'-0.5'", "'1e2'", "'abc'"],
            Text => &["NULL", "'a'", "'B'", "''", "'10'"],
            Jsonb => &["NULL", "'{\"a\": 1}'", "'[1]'", "'{'"],
            Timestamptz => &["NULL", "'2024-01-31 12:00:00.5+00'"],
            Timestamp | Interval => &["NULL"],
            Ints | Bigs => &["NULL", "'{1,2}'", "'{}'", "'{a}'"],
            Texts => &["NULL", "'{a,b}'", "'{}'", "'{'"],
        }
    }

    pub(crate) fn element(self) -> Ty {
        match self {
            Ints => Int4,
            Bigs => Int8,
            _ => Text,
        }
    }
}

const BOOL_LITERALS: &[&str] = &["true", "false", "NULL::boolean", "'on'::bool"];

const INT2_LITERALS: &[&str] =
    &["1::smallint", "0::int2", "'-1'::int2", "32767::int2", "'-32768'::int2", "7::int2", "NULL::int2"];

const INT4_LITERALS: &[&str] =
    &["1", "0", "2", "-1", "3", "7", "-10", "100", "2147483647", "-2147483648", "NULL::int", "'5'::int", "65536"];

const INT8_LITERALS: &[&str] = &[
    "1::bigint",
    "0::int8",
    "5000000000",
    "9223372036854775807",
    "-9223372036854775808",
    "-3::int8",
    "NULL::int8",
    "'12'::int8",
];

const NUMERIC_LITERALS: &[&str] = &[
    "1.5",
    "0.0",
    "-2.50",
    "0.1",
    "3::numeric",
    "12345678901234567890",
    "0.000001",
    "1.10::numeric",
    "-7.0",
    "NULL::numeric",
    "1e3",
    "' 12.30 '::numeric",
    "99999.5",
    "0.5",
    "2.5",
];

const TEXT_LITERALS: &[&str] = &[
    "'a'::text",
    "''::text",
    "'A'::text",
    "'b'::text",
    "'ab'::text",
    "'Ab c'::text",
    "'é'::text",
    "' x '::text",
    "'10'::text",
    "'-3'::text",
    "'true'::text",
    "'a%'::text",
    "'a_c'::text",
    "'it''s'::text",
    "E'a\\\\b'::text",
    "NULL::text",
    "'{1,2}'::text",
    "'{\"a\":1}'::text",
    "'1.5'::text",
    "E'x\\ny'::text",
    "'zzzzzzzzzzzzzzzz'::text",
];

const JSONB_LITERALS: &[&str] = &[
    "'1'::jsonb",
    "'null'::jsonb",
    "'true'::jsonb",
    "'1.50'::jsonb",
    "'\"a\"'::jsonb",
    "'[]'::jsonb",
    "'{}'::jsonb",
    "'[1,2,[3],\"a\"]'::jsonb",
    "'{\"a\":1,\"b\":[1,2]}'::jsonb",
    "'{\"a\":{\"b\":\"c\"}}'::jsonb",
    "'{\"bb\":null,\"a\":2,\"a\":3}'::jsonb",
    "'[{\"a\":1},\"x\",null]'::jsonb",
    "NULL::jsonb",
    "'\"it\\u0041\\\"\"'::jsonb",
    "'1e2'::jsonb",
    "'-0.0'::jsonb",
    "'[1,1.0]'::jsonb",
    "'\"12\"'::jsonb",
];

const TIMESTAMPTZ_LITERALS: &[&str] = &[
    "'2024-01-31 12:00:00.5+00'::timestamptz",
    "'1999-12-31 23:59:59+00'::timestamptz",
    "'2024-02-29 00:00:00+02'::timestamptz",
    "NULL::timestamptz",
];

const TIMESTAMP_LITERALS: &[&str] =
    &["NULL::timestamp", "'2024-01-31 12:00:00.5'::timestamp", "'1999-12-31 23:59:59'::timestamp"];

const INTERVAL_LITERALS: &[&str] =
    &["'1 day'::interval", "'01:00:00'::interval", "NULL::interval", "'-1 month 2 days'::interval"];

const INTS_LITERALS: &[&str] =
    &["'{}'::int[]", "ARRAY[1,2,3]", "ARRAY[1,NULL,2]", "'{3,1}'::int[]", "NULL::int[]", "ARRAY[3]"];

const BIGS_LITERALS: &[&str] = &["'{}'::int8[]", "ARRAY[1,5000000000]", "'{NULL,2}'::int8[]", "NULL::int8[]"];

const TEXTS_LITERALS: &[&str] = &[
    "ARRAY['a','b']",
    "'{}'::text[]",
    "ARRAY['a',NULL,'c d']",
    "'{\"x\",\"NULL\",\"\"}'::text[]",
    "NULL::text[]",
    "ARRAY['a']",
    "ARRAY['a\"b','c\\d']",
];

/// A form with places for its arguments: `$1`, `$2`, `$3`.
pub(crate) type Form = (&'static str, &'static [Ty]);

const BOOL_FORMS: &[Form] = &[
    ("NOT $1", &[Bool]),
    ("$1 AND $2", &[Bool, Bool]),
    ("$1 OR $2", &[Bool, Bool]),
    ("$1 = $2", &[Bool, Bool]),
    ("$1 < $2", &[Text, Text]),
    ("$1 >= $2", &[Text, Text]),
    ("$1 <> $2", &[Text, Text]),
    ("$1 IS TRUE", &[Bool]),
    ("$1 IS NOT TRUE", &[Bool]),
    ("$1 IS FALSE", &[Bool]),
    ("$1 IS UNKNOWN", &[Bool]),
    ("$1 LIKE $2", &[Text, Text]),
    ("$1 NOT LIKE 'a%'", &[Text]),
    ("starts_with($1, $2)", &[Text, Text]),
    ("$1 @> $2", &[Jsonb, Jsonb]),
    ("$1 <@ $2", &[Jsonb, Jsonb]),
    ("$1 ? $2", &[Jsonb, Text]),
    ("$1 ?| $2", &[Jsonb, Texts]),
    ("$1 ?& $2", &[Jsonb, Texts]),
    ("$1 @> $2", &[Ints, Ints]),
    ("$1 <@ $2", &[Texts, Texts]),
    ("$1 && $2", &[Ints, Ints]),
    ("$1::boolean", &[Int4]),
    ("$1::boolean", &[Text]),
    ("$1::boolean", &[Jsonb]),
    ("$1 BETWEEN $2 AND $3", &[Int4, Int4, Int8]),
    ("$1 NOT BETWEEN $2 AND $3", &[Text, Text, Text]),
    ("$1 BETWEEN $2 AND $3", &[Numeric, Int4, Numeric]),
    ("EXISTS (SELECT 1 FROM v w WHERE w.i = $1)", &[Int4]),
    ("NOT EXISTS (SELECT FROM v w WHERE w.t < $1 AND w.p)", &[Text]),
    ("$1 IN (SELECT w.i FROM v w)", &[Int4]),
    ("$1 NOT IN (SELECT w.i FROM v w WHERE w.i IS NOT NULL)", &[Int4]),
    ("$1 = ANY (SELECT w.t FROM v w WHERE w.id < 3)", &[Text]),
    ("$1 < ALL (SELECT w.b FROM v w WHERE w.id > 2)", &[Int8]),
];

const INT2_FORMS: &[Form] = &[
    ("$1::int2", &[Int4]),
    ("$1::int2", &[Int8]),
    ("$1::int2", &[Numeric]),
    ("$1::int2", &[Text]),
    ("$1::int2", &[Jsonb]),
];

const INT4_FORMS: &[Form] = &[
    ("length($1)", &[Text]),
    ("octet_length($1)", &[Text]),
    ("strpos($1, $2)", &[Text, Text]),
    ("position($1 in $2)", &[Text, Text]),
    ("$1::int", &[Int8]),
    ("$1::int", &[Numeric]),
    ("$1::int", &[Text]),
    ("$1::int", &[Bool]),
    ("$1::int", &[Jsonb]),
    ("$1::int", &[Int2]),
    ("jsonb_array_length($1)", &[Jsonb]),
    ("array_length($1, $2)", &[Ints, Int4]),
    ("cardinality($1)", &[Texts]),
    ("array_position($1, $2)", &[Ints, Int4]),
    ("array_position($1, $2)", &[Texts, Text]),
    ("($1)[$2]", &[Ints, Int4]),
    ("mod($1, $2)", &[Int4, Int4]),
    ("(SELECT w.i FROM v w WHERE w.id = $1)", &[Int4]),
    ("(SELECT max(w.i) FROM v w WHERE w.i < $1)", &[Int4]),
];

const INT8_FORMS: &[Form] = &[
    ("$1::int8", &[Int4]),
    ("$1::int8", &[Numeric]),
    ("$1::bigint", &[Text]),
    ("$1::bigint", &[Jsonb]),
    ("($1)[$2]", &[Bigs, Int4]),
    ("mod($1, $2)", &[Int8, Int4]),
    ("(SELECT count(*) FROM v w WHERE $1)", &[Bool]),
    ("(SELECT sum(w.i) FROM v w WHERE w.i > $1)", &[Int4]),
];

const NUMERIC_FORMS: &[Form] = &[
    ("$1::numeric", &[Int4]),
    ("$1::numeric", &[Text]),
    ("$1::numeric", &[Jsonb]),
    ("$1::numeric", &[Int8]),
    ("mod($1, $2)", &[Numeric, Numeric]),
    ("abs($1)", &[Numeric]),
];

const TEXT_FORMS: &[Form] = &[
    ("$1 || $2", &[Text, Text]),
    ("$1 || $2", &[Text, Int4]),
    ("$1 || $2", &[Numeric, Text]),
    ("lower($1)", &[Text]),
    ("upper($1)", &[Text]),
    ("left($1, $2)", &[Text, Int4]),
    ("right($1, $2)", &[Text, Int4]),
    ("repeat($1, $2 % 4)", &[Text, Int4]),
    ("replace($1, $2, $3)", &[Text, Text, Text]),
    ("split_part($1, $2, $3)", &[Text, Text, Int4]),
    ("btrim($1)", &[Text]),
    ("ltrim($1)", &[Text]),
    ("trim(trailing from $1)", &[Text]),
    ("$1 ->> $2", &[Jsonb, Text]),
    ("$1 ->> $2", &[Jsonb, Int4]),
    ("$1 #>> $2", &[Jsonb, Texts]),
    ("jsonb_typeof($1)", &[Jsonb]),
    ("concat($1, $2, $3)", &[Text, Int4, Text]),
    ("($1)[$2]", &[Texts, Int4]),
    ("$1::text", &[Bool]),
    ("$1::text", &[Int8]),
    ("$1::text", &[Numeric]),
    ("$1::text", &[Jsonb]),
    ("$1::text", &[Timestamptz]),
    ("$1::text", &[Ints]),
    ("$1::text", &[Texts]),
    ("(SELECT w.t FROM v w WHERE w.id = $1)", &[Int4]),
    ("(SELECT string_agg(w.t, $1 ORDER BY w.id) FROM v w)", &[Text]),
];

const JSONB_FORMS: &[Form] = &[
    ("$1 -> $2", &[Jsonb, Text]),
    ("$1 -> $2", &[Jsonb, Int4]),
    ("$1 #> $2", &[Jsonb, Texts]),
    ("$1 || $2", &[Jsonb, Jsonb]),
    ("$1 - $2", &[Jsonb, Text]),
    ("to_jsonb($1)", &[Int4]),
    ("to_jsonb($1)", &[Text]),
    ("to_jsonb($1)", &[Numeric]),
    ("to_jsonb($1)", &[Bool]),
    ("to_jsonb($1)", &[Ints]),
    ("to_jsonb($1)", &[Texts]),
    ("to_jsonb($1)", &[Timestamptz]),
    ("jsonb_build_object($1, $2)", &[Text, Int4]),
    ("jsonb_build_object('k', $1, $2, $3)", &[Jsonb, Text, Bool]),
    ("jsonb_build_array($1, $2, $3)", &[Text, Numeric, Jsonb]),
    ("$1::jsonb", &[Text]),
    ("(SELECT w.o FROM v w WHERE w.id = $1)", &[Int4]),
];

const TIMESTAMPTZ_FORMS: &[Form] = &[
    ("greatest($1, $2)", &[Timestamptz, Timestamptz]),
    ("$1::text::timestamptz", &[Timestamptz]),
    ("$1 + $2", &[Timestamptz, Interval]),
];

const TIMESTAMP_FORMS: &[Form] = &[("least($1, $2)", &[Timestamp, Timestamp]), ("$1 + $2", &[Timestamp, Interval])];

const INTERVAL_FORMS: &[Form] = &[("$1 + $2", &[Interval, Interval]), ("$1 - $2", &[Timestamp, Timestamp])];

const INTS_FORMS: &[Form] = &[
    ("$1 || $2", &[Ints, Int4]),
    ("$1 || $2", &[Int4, Ints]),
    ("$1 || $2", &[Ints, Ints]),
    ("array_append($1, $2)", &[Ints, Int4]),
    ("array_prepend($1, $2)", &[Int4, Ints]),
    ("array_cat($1, $2)", &[Ints, Ints]),
    ("array_remove($1, $2)", &[Ints, Int4]),
    ("ARRAY[$1, $2, $3]", &[Int4, Int4, Int2]),
    ("ARRAY(SELECT w.i FROM v w WHERE w.id < $1 ORDER BY w.id DESC)", &[Int4]),
    ("$1::int[]", &[Text]),
];

const BIGS_FORMS: &[Form] = &[
    ("$1 || $2", &[Bigs, Int8]),
    ("$1 || $2", &[Bigs, Int4]),
    ("ARRAY[$1, $2]", &[Int8, Int4]),
    ("$1::int8[]", &[Ints]),
    ("array_remove($1, $2)", &[Bigs, Int8]),
];

const TEXTS_FORMS: &[Form] = &[
    ("$1 || $2", &[Texts, Texts]),
    ("$1 || $2", &[Texts, Text]),
    ("array_append($1, $2)", &[Texts, Text]),
    ("array_remove($1, $2)", &[Texts, Text]),
    ("ARRAY[$1, $2]", &[Text, Text]),
    ("ARRAY[$1, $2]::text[]", &[Int4, Text]),
    ("$1::text[]", &[Text]),
];

pub(crate) fn forms(ty: Ty) -> &'static [Form] {
    match ty {
        Bool => BOOL_FORMS,
        Int2 => INT2_FORMS,
        Int4 => INT4_FORMS,
        Int8 => INT8_FORMS,
        Numeric => NUMERIC_FORMS,
        Text => TEXT_FORMS,
        Jsonb => JSONB_FORMS,
        Timestamptz => TIMESTAMPTZ_FORMS,
        Timestamp => TIMESTAMP_FORMS,
        Interval => INTERVAL_FORMS,
        Ints => INTS_FORMS,
        Bigs => BIGS_FORMS,
        Texts => TEXTS_FORMS,
    }
}

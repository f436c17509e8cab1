//! Keeps the merged records of a server's databases as typed tables that Apache Drill queries: for each collection a view
//! over files of newline-delimited JSON, with the rows of all databases.
//!
//! A [`Lake`] owns a folder. Changes go in with [`Lake::apply`], which only changes memory; [`Lake::publish`] writes what
//! changed and makes it visible. Rows are on the disk, and in memory only what waits. The code is synchronous, knows no network and no documents, and draws no random numbers.
//!
//! # Types
//!
//! The type of a column is the one that the catalog declares for its field, else the least that holds every value ever seen
//! in it. What was seen is recorded in the lake whether a type is declared or not, and it only widens. So the type is a
//! function of the recorded schema and the catalog: it does not depend on when a type was declared, changed or taken back,
//! and a restart or the deletion of a row narrows nothing.
//!
//! ## Inferred
//!
//! | Values | Column in Drill | A cell |
//! | --- | --- | --- |
//! | none but nulls | `VARCHAR` | null |
//! | booleans | `BOOLEAN` | |
//! | integers and counters | `BIGINT` | exact, 64 bits |
//! | floats | `DOUBLE` | exact; NaN and the infinities as `NaN`, `Infinity`, `-Infinity` |
//! | floats, and integers within ±2^53 | `DOUBLE` | exact |
//! | floats, and integers beyond ±2^53; integers above 2^63 − 1 | `DECIMAL(38, s)`, `s` as many digits as any of them has after the point | exact: a float is the decimal number that its shortest text spells, and reads back as the same float |
//! | the same, where a float is NaN, infinite or -0.0, or where more than 38 digits would be needed (the most before the point and the most after it) | `VARCHAR` | the number's canonical text |
//! | strings and texts | `VARCHAR` | as they are, of any length |
//! | timestamps of the years 1 to 9999 | `TIMESTAMP` | exact, in UTC without a zone |
//! | timestamps before or after | `VARCHAR` | `{"$timestamp":milliseconds}`; those within as `yyyy-MM-ddTHH:mm:ss.SSS` |
//! | bytes | `VARBINARY` | exact |
//! | maps | `STRUCT` of all members seen, each by these rules | one that is absent or null reads as nulls throughout |
//! | maps without any member | `VARCHAR` | `{}` |
//! | lists of scalars of one type, or integers and floats as above | `ARRAY` | one that is absent or null reads as empty |
//! | lists of maps | `ARRAY<STRUCT>` | |
//! | empty lists only | `ARRAY<VARCHAR>` | empty |
//! | lists that hold a null, a list or values of several types; a map with over [`MAX_LEAVES`] members | `VARCHAR` | canonical JSON |
//! | any other mixture (numbers and strings, booleans and numbers, scalars and maps, …) | `VARCHAR` | strings as they are, timestamps as above, bytes in base64, all else as canonical JSON: `300`, `1.5`, `true`, `{"a":1}` |
//! | values nested deeper than [`MAX_NESTING`] | `VARCHAR` | canonical JSON |
//!
//! Null never decides a type, and a null cell reads as null.
//!
//! ## Declared
//!
//! A declared type is exactly the column's, also while it has no value. What does not fit it is *rejected*: its cell is null,
//! and it has a row in `<table>_rejected`.
//!
//! | Declared | Column in Drill | What fits |
//! | --- | --- | --- |
//! | `bool` | `BOOLEAN` | booleans |
//! | `int`, `counter` | `BIGINT` | integers of 64 bits with a sign, counters, and floats within ±2^53 without a fraction (not -0.0) |
//! | `float` | `DOUBLE` | floats; integers and counters within ±2^53 |
//! | `decimal(p,s)` | `DECIMAL(p, s)` | strings and texts of digits with at most one `-` before and one point between them (`-12.50`), integers, counters, and floats by their shortest text, if at most `p - s` digits stand before the point and `s` after it; zeros that say nothing do not count |
//! | `string`, `text` | `VARCHAR` | strings and texts |
//! | `date` | `DATE` | strings and texts `yyyy-MM-dd` that are a day of the years 1 to 9999 |
//! | `timestamp` | `TIMESTAMP` | timestamps, and integers as milliseconds since 1970, of the years 1 to 9999 |
//! | `bytes` | `VARBINARY` | bytes |
//! | `list`, `map` | what the lists, or the maps, alone would give | lists, or maps |
//!
//! A field with the policy `keep-all` or `union` shows lists, so its column is inferred unless `list` is declared. A type that
//! this version does not know counts as none. A field among those in `_more` is not checked.
//!
//! Databases share a table. A type counts if all databases that declare one for the field declare the same (`int` and
//! `counter`, `string` and `text` being the same); else the column is inferred until they agree, and nothing is rejected.
//!
//! `<table>_rejected` is there also while it is empty:
//!
//! | Column | |
//! | --- | --- |
//! | `_key`, `_database` | the record's |
//! | `field` | the field's name in the records |
//! | `value` | the value, as canonical JSON |
//! | `reason` | why it does not fit: `"abc" is not a decimal(20,4)` |
//!
//! `_database`, `_key` and `field` together name a row. It goes when the value is mended, the record deleted, or the
//! declaration changed.
//!
//! # Columns and names
//!
//! Each table begins with `_key`, the record's key, and `_database`, the id of the database that holds it. Then come the fields
//! in the order in which they were first published, those of one publication in byte order. Beyond [`MAX_COLUMNS`] fields the
//! rest is canonical JSON in `_more`.
//!
//! The catalog may call a field's column otherwise, or hide it. A column that is called otherwise than when it got its name
//! gets a new one by the rules below and stays in its place; the old name is free again. Those that get names at once do so
//! in byte order of what they are called, then of their fields; a column that has its name keeps it. A hidden field has no
//! column, no part in `_more` and nothing rejected, but what is seen in it is recorded; shown again, it has its place and its
//! type. If it was shown before, an empty column `_hidden3` (with the number of its place) stands there meanwhile: no column ever
//! takes the place of another, because Drill reads a view twice while it plans a query and takes columns by their numbers. Of databases that disagree: a field that one hides is hidden; else, unless all that name its column name it alike, it
//! is called as the field.
//!
//! Names of tables, columns and members stay as they are wherever Drill can use them (in backquotes):
//!
//! | Name | Becomes |
//! | --- | --- |
//! | column for which Drill gives something else: `user`, `current_date`, … (functions), `filename`, `dir0`, … (of the file), and `_key`, `_database`, `_more` | the name with `_` at its end: `user_` |
//! | table `default`, or ending in `_changes`, `_conflicts`, `_debezium`, `_history`, `_rejected` (which belong to another table) | the same: `default_` |
//! | empty, over 200 bytes, with `` ` ' " . \ [ ] * ``, control characters, or blanks other than inner spaces | the first 40 characters with `_` for those that cannot stay, then `__` and 8 digits of the SHA-256 of the name (of the field's, if the catalog calls its column so) |
//! | table with other characters than ASCII letters, digits, `_`, `-` and inner spaces, or that begins with `_` | the same |
//! | differs only by case from one that was recorded before, or that comes before it in byte order | the same |
//! | ends in `__` and 8 or more hexadecimal digits | the same |
//!
//! # Conflicts
//!
//! A collection of a database has a second table, `<table>_conflicts`: what lost in its records and is not settled, a row for
//! each write that lost. It has these columns, also while it is empty:
//!
//! | Column | |
//! | --- | --- |
//! | `_key`, `_database` | the record's, as in the other table |
//! | `field` | the field's name, with dots from the record inwards, a name with dots or quotes in it as a JSON string; null if it is about the record as a whole |
//! | `kind` | `values`; `edit-lost` and `delete-lost` where an edit and a delete of the record met |
//! | `policy`, `resolved` | what decided, and whether it could be carried out (`BOOLEAN`) |
//! | `shown` | what is shown, as canonical JSON; null if the record is deleted |
//! | `lost` | what lost, as canonical JSON; null for a delete |
//! | `lost_claim`, `lost_user`, `lost_origin`, `lost_actor`, `lost_change`, `lost_at` | which write that was, and what its writer claims; `lost_at` is a `TIMESTAMP`, null outside the years 1 to 9999 |
//! | `winner_claim`, `winner_user`, `winner_origin`, `winner_at` | the same of the write that is shown; null if what is shown is made of several |
//!
//! `_database`, `_key`, `field` and `lost_claim` together name a row. A conflict without a loser, whose policy could not be
//! carried out on values that are alike, has none.
//!
//! # Change feeds
//!
//! `<table>_changes` has an event for each row that a commit inserted, updated or deleted. A commit takes in all that waits, so edits
//! of one record that come within one publication interval are one event, from what the row was before the first to what it is
//! after the last. Events are the differences between the states that the lake has committed, and are committed with them: there is none
//! twice and none missing, whatever crashes. What is there before the first publication of a lake is its baseline and not told.
//!
//! | Column | |
//! | --- | --- |
//! | `_key`, `_database` | the record's |
//! | `_change_type` | `insert`, `update` or `delete` |
//! | `_commit_version`, `_commit_timestamp` | the commit: its number, which is the snapshot's too, and this server's clock |
//! | `_cursor` | the event's place; cursors are in the order of the feed, and [`Lake::feed`] goes on after one |
//! | `_event_id` | the event's own, and the same whenever it is told |
//! | `_actor`, `_change`, `_user`, `_origin`, `_edited_at` | the latest change that led to it, and what its writer claims; null where it is not known, as of a delete that came with a whole document |
//! | `before`, `after` | the row, as a `STRUCT` of the columns that the table has now |
//!
//! `<table>_history` has the same as rows, after the time from which each was so and until which (`_valid_from`, `_valid_to`: null for those that
//! still are); `<table>_debezium` in the form of Debezium's envelope. Events leave after [`LakeOptions::keep_changes`]; a cursor before
//! those that are kept has expired. A lake that lost its rows, or is made anew, begins another epoch, in which earlier cursors have expired.
//!
//! # Files
//!
//! ```text
//! LAKE/movies.view.drill                     what Drill lists: a view on one version, replaced by rename
//! LAKE/.headwater/lock                       held while a process publishes here
//! LAKE/.headwater/state.redb                 which parts there are, names and types as recorded, heads up to which databases are in
//! LAKE/.headwater/<hash of the collection>/records/parts/7.rows     rows exactly, packed, with a checksum
//! LAKE/.headwater/<hash of the collection>/records/parts/7.json     the same rows as Drill reads them
//! LAKE/.headwater/<hash of the collection>/records/g9/7.json        a group: links to parts that follow each other
//! LAKE/.headwater/<hash of the collection>/records/v41/g9           a version: links to groups, and its views beside them
//! LAKE/.headwater/<hash of the collection>/changes/…                the same of its events; conflicts, rejected
//! ```
//!
//! Rows are in order of database and key, in parts of about 352 KiB (256 to 576, unless a group has but one). Parts and groups are never
//! changed, only replaced, so what a change costs does not grow with the table: a part, a group of links, a list of groups. [`Lake::absorb`]
//! writes the parts that change and then commits them, with their events and the heads, in one step of `state.redb`; [`Lake::publish`] makes
//! a version of what was committed and then replaces the view. So a query sees one published state of a table, whatever happens
//! meanwhile, and a crash at any moment leaves the one before or the one after. Versions that were replaced stay for
//! [`LakeOptions::keep_snapshots`]: [`snapshots`] lists them, and [`views_at`] gives the views of all tables in one.
//!
//! Where a table has nested columns or no rows, each file begins with a row without key that shows Drill all members, and the
//! view leaves it out. Without it Drill gives nulls for members that the file at hand lacks, or fails.

mod changes;
mod collection;
mod conflicts;
mod declared;
mod derived;
mod disk;
mod edit;
mod error;
mod lake;
mod names;
mod number;
mod part;
mod rejected;
mod render;
mod rows;
mod schema;
mod shown;
mod snapshots;
mod state;
mod table;
mod tree;
mod types;
mod verify;
mod view;

#[cfg(test)]
mod tests;

pub use changes::{ChangeEvent, Cursor, EditClaims, ParseCursorError};
pub use declared::{Declaration, Declarations, DeclaredType, declarations};
pub use error::LakeError;
pub use lake::{
    Absorbed, FeedPage, FeedPlace, FeedQuery, Lake, LakeOptions, MAX_NESTING, Published, RowChange,
    canonical,
};
pub use names::{DATABASE, KEY, MORE};
pub use number::Number;
pub use rejected::Rejected;
pub use schema::{Column, MAX_COLUMNS, MAX_LEAVES};
pub use snapshots::{Snapshot, snapshots, views_at};
pub use state::Heads;
pub use types::{Member, Type};
pub use verify::{FilesReport, Finding};

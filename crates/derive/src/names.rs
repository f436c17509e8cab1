//! The names that serde gives to fields.

/// How `#[serde(rename_all = "…")]` writes names.
#[derive(Clone, Copy, Default)]
pub(crate) enum Case {
    #[default]
    AsIs,
    Lower,
    Upper,
    Pascal,
    Camel,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Case {
    /// The case of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "snake_case" => Self::AsIs,
            "lowercase" => Self::Lower,
            "UPPERCASE" => Self::Upper,
            "PascalCase" => Self::Pascal,
            "camelCase" => Self::Camel,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            _ => return None,
        })
    }

    /// A field's name, which is in snake case in Rust.
    pub fn of_field(self, field: &str) -> String {
        match self {
            Self::AsIs | Self::Lower => field.to_owned(),
            Self::Upper | Self::ScreamingSnake => field.to_ascii_uppercase(),
            Self::Kebab => field.replace('_', "-"),
            Self::ScreamingKebab => field.to_ascii_uppercase().replace('_', "-"),
            Self::Pascal => joined(field, true),
            Self::Camel => joined(field, false),
        }
    }
}

fn joined(field: &str, mut capital: bool) -> String {
    let mut name = String::with_capacity(field.len());
    for c in field.chars() {
        match c {
            '_' => capital = true,
            c if capital => {
                name.push(c.to_ascii_uppercase());
                capital = false;
            }
            c => name.push(c),
        }
    }
    name
}

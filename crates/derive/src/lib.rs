//! `#[derive(Schema)]`: what a collection declares, from the struct that serde makes its records of.
//!
//! Use it through the crate `headwater`, where the trait and the attributes are explained.

mod names;

use names::Case;
use proc_macro::TokenStream;
use quote::quote;
use syn::spanned::Spanned as _;
use syn::{Attribute, Data, DeriveInput, Error, Field, Fields, LitInt, LitStr, Result};

/// See `headwater::Schema`.
#[proc_macro_derive(Schema, attributes(schema))]
pub fn derive_schema(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand(&input)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

fn expand(input: &DeriveInput) -> Result<proc_macro2::TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(
            input.span(),
            "a schema is derived from a struct",
        ));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new(
            input.span(),
            "a schema is derived from a struct with named fields",
        ));
    };
    let container = Container::read(&input.attrs)?;
    let mut steps = Vec::new();
    for field in &fields.named {
        steps.extend(declare(field, container.case)?);
    }
    let version = container.version.map(|version| quote!(.version(#version)));
    let delete = container
        .delete_wins
        .then(|| quote!(.delete(::headwater::DeleteRule::DeleteWins)));
    let keep = container
        .edit_wins
        .then(|| quote!(.delete(::headwater::DeleteRule::EditWins)));
    let name = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        impl #generics ::headwater::Schema for #name #arguments #bounds {
            fn schema() -> ::headwater::CollectionSchema {
                let schema = ::headwater::CollectionSchema::new() #version #delete #keep;
                #(#steps)*
                schema
            }
        }
        impl #generics ::headwater::FieldKind for #name #arguments #bounds {
            fn kind() -> ::core::option::Option<::headwater::FieldType> {
                ::core::option::Option::Some(::headwater::FieldType::Map)
            }
        }
    })
}

/// The statements that declare one field; none if serde leaves it out of the record or spreads it over the record.
fn declare(field: &Field, case: Case) -> Result<Option<proc_macro2::TokenStream>> {
    let Some(ident) = &field.ident else {
        return Ok(None);
    };
    let mut name = case.of_field(&ident.to_string().replace("r#", ""));
    let (mut left_out, mut untyped) = (false, false);
    let (mut kind, mut policy, mut column) = (None, None, None);
    each_item(&field.attrs, "serde", |meta| {
        match meta.path.get_ident().map(ToString::to_string).as_deref() {
            Some("rename") => {
                if let Some(renamed) = serialized_name(&meta)? {
                    name = renamed;
                }
            }
            Some("skip" | "skip_serializing" | "flatten") => left_out = true,
            _ => skip_value(&meta)?,
        }
        Ok(())
    })?;
    each_item(&field.attrs, "schema", |meta| {
        match meta.path.get_ident().map(ToString::to_string).as_deref() {
            Some("policy") => policy = Some(meta.value()?.parse::<LitStr>()?),
            Some("kind") => kind = Some(meta.value()?.parse::<LitStr>()?),
            Some("untyped") => untyped = true,
            Some("column") => {
                let name = meta.value()?.parse::<LitStr>()?;
                column = Some(quote!(#name));
            }
            Some("no_column") => column = Some(quote!(::headwater::LakeColumn::Hidden)),
            _ => {
                return Err(meta.error(
                    "a field has the attributes policy, kind, untyped, column and no_column",
                ));
            }
        }
        Ok(())
    })?;
    if left_out {
        return Ok(None);
    }
    let ty = &field.ty;
    let kind = match kind {
        Some(kind) => quote! {
            let schema = schema.field(#name, ::headwater::FieldType::of_name(#kind));
        },
        None if untyped => quote!(),
        None => quote! {
            let schema = match <#ty as ::headwater::FieldKind>::kind() {
                ::core::option::Option::Some(kind) => schema.field(#name, kind),
                ::core::option::Option::None => schema,
            };
        },
    };
    let policy = policy.map(
        |policy| quote!(let schema = schema.policy(#name, ::headwater::Policy::of_name(#policy));),
    );
    let column = column.map(|column| quote!(let schema = schema.column(#name, #column);));
    Ok(Some(quote!(#kind #policy #column)))
}

/// The attributes of the struct.
#[derive(Default)]
struct Container {
    case: Case,
    version: Option<u32>,
    delete_wins: bool,
    edit_wins: bool,
}

impl Container {
    fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut container = Self::default();
        each_item(attributes, "serde", |meta| {
            if meta.path.is_ident("rename_all") {
                if let Some(case) = serialized_name(&meta)? {
                    container.case = Case::of_name(&case)
                        .ok_or_else(|| meta.error("serde knows no such case"))?;
                }
                return Ok(());
            }
            skip_value(&meta)
        })?;
        each_item(attributes, "schema", |meta| {
            if meta.path.is_ident("version") {
                container.version = Some(meta.value()?.parse::<LitInt>()?.base10_parse()?);
            } else if meta.path.is_ident("delete") {
                let rule: LitStr = meta.value()?.parse()?;
                match rule.value().as_str() {
                    "delete-wins" => container.delete_wins = true,
                    "edit-wins" => container.edit_wins = true,
                    _ => return Err(Error::new(rule.span(), "edit-wins or delete-wins")),
                }
            } else {
                return Err(meta.error("a struct has the attributes version and delete"));
            }
            Ok(())
        })?;
        Ok(container)
    }
}

fn each_item(
    attributes: &[Attribute],
    name: &str,
    mut item: impl FnMut(syn::meta::ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    let named = attributes.iter().filter(|one| one.path().is_ident(name));
    for attribute in named {
        attribute.parse_nested_meta(&mut item)?;
    }
    Ok(())
}

/// `rename = "x"` and `rename(serialize = "x", deserialize = "y")`.
fn serialized_name(meta: &syn::meta::ParseNestedMeta<'_>) -> Result<Option<String>> {
    if meta.input.peek(syn::Token![=]) {
        return Ok(Some(meta.value()?.parse::<LitStr>()?.value()));
    }
    let mut name = None;
    meta.parse_nested_meta(|inner| {
        let value: LitStr = inner.value()?.parse()?;
        if inner.path.is_ident("serialize") {
            name = Some(value.value());
        }
        Ok(())
    })?;
    Ok(name)
}

/// Passes over what an item of serde's says.
fn skip_value(meta: &syn::meta::ParseNestedMeta<'_>) -> Result<()> {
    if meta.input.peek(syn::Token![=]) {
        meta.value()?.parse::<syn::Expr>()?;
    } else if meta.input.peek(syn::token::Paren) {
        meta.parse_nested_meta(|inner| skip_value(&inner))?;
    }
    Ok(())
}

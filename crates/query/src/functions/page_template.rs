//! `page_template(page_type, page_path)`: what kind of page it is. The type, where the page told one;
//! else the path with `*` for each part that holds a digit, so that a shop's thousand products are one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PageTemplate(Signature);

impl Default for PageTemplate {
    fn default() -> Self {
        Self(Signature::exact(vec![DataType::Utf8, DataType::Utf8], Volatility::Immutable))
    }
}

impl ScalarUDFImpl for PageTemplate {
    fn name(&self) -> &str {
        "page_template"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let (types, paths) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
        let template = |row: usize| match (types.is_valid(row), paths.is_valid(row)) {
            (true, _) => Some(types.value(row).to_owned()),
            (false, true) => Some(of_path(paths.value(row))),
            (false, false) => None,
        };
        let templates: StringArray = (0..types.len()).map(template).collect();
        Ok(ColumnarValue::Array(Arc::new(templates) as ArrayRef))
    }
}

fn of_path(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let part = |part: &'_ str| match part.contains(|c: char| c.is_ascii_digit()) {
        true => "*".to_owned(),
        false => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

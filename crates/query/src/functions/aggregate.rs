//! Aggregates that ask a question of the events of each group: `name(constants…, event_time, seq,
//! texts…, conditions…)`. The events are kept by `hits`; what is asked is a [`Question`].

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
    utils::AggregateOrderSensitivity,
};
use datafusion::physical_expr::expressions::Literal;

use super::hits::{Hits, Ordered, state_fields};
use super::texts::Texts;
use crate::QueryError;
use crate::format::type_name;

/// Conditions of a question, at most.
pub(super) const CONDITIONS_MAX: usize = 48;

/// What is asked of a group's events, each with `N` texts.
pub(super) trait Question<const N: usize>: Debug + Send + Sync + Sized + 'static {
    const NAME: &'static str;
    /// What an analyst calls, who may not know of the aggregate.
    const CALLED: &'static str = Self::NAME;
    /// A right call, for who made a wrong one.
    const USAGE: &'static str;
    /// How many arguments stand before `event_time`; they are constants.
    const CONSTANTS: usize;

    /// # Errors
    /// A sentence: what is wrong with the constants.
    fn parse(constants: &[ScalarValue], conditions: usize) -> Result<Self, String>;

    /// Whether events that fulfil no condition matter.
    fn keeps_all(&self) -> bool {
        false
    }

    /// How many conditions there may be.
    const CONDITIONS_MAX: usize = CONDITIONS_MAX;

    /// Type of the answer, for so many conditions.
    fn data_type(conditions: usize) -> DataType;

    /// An answer for each group.
    ///
    /// # Errors
    /// What makes a group impossible to answer for.
    fn answer(&self, groups: &Ordered<N>, texts: &Texts) -> Result<ArrayRef>;
}

/// The aggregate that asks `Q`.
pub(super) struct Asks<Q, const N: usize> {
    signature: Signature,
    question: std::marker::PhantomData<fn() -> Q>,
}

impl<Q, const N: usize> Default for Asks<Q, N> {
    fn default() -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { signature, question: std::marker::PhantomData }
    }
}

impl<Q: Question<N>, const N: usize> Asks<Q, N> {
    const BEFORE_CONDITIONS: usize = Q::CONSTANTS + 2 + N;

    fn collect(args: &AccumulatorArgs<'_>) -> Result<Collect<Q, N>> {
        let constants = args.exprs[..Q::CONSTANTS].iter().map(|expression| {
            match expression.downcast_ref::<Literal>() {
                Some(literal) => Ok(literal.value().clone()),
                None => Err(wrong::<Q, N>("its first arguments are constants".to_owned())),
            }
        });
        let constants: Vec<ScalarValue> = constants.collect::<Result<_>>()?;
        let conditions = args.exprs.len() - Self::BEFORE_CONDITIONS;
        let question = Q::parse(&constants, conditions).map_err(wrong::<Q, N>)?;
        Ok(Collect { hits: Hits::new(question.keeps_all()), question })
    }
}

/// A call that is wrong, in words for who made it.
pub(super) fn wrong<Q: Question<N>, const N: usize>(what: String) -> DataFusionError {
    let error = QueryError::Statement {
        message: format!("{}(): {what}", Q::CALLED),
        place: None,
        hint: Some(format!("such as {}", Q::USAGE)),
    };
    DataFusionError::External(Box::new(error))
}

impl<Q: Question<N>, const N: usize> Debug for Asks<Q, N> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(Q::NAME)
    }
}

// There is one of each.
impl<Q, const N: usize> PartialEq for Asks<Q, N> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<Q, const N: usize> Eq for Asks<Q, N> {}

impl<Q: Question<N>, const N: usize> Hash for Asks<Q, N> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Q::NAME.hash(state);
    }
}

impl<Q: Question<N>, const N: usize> AggregateUDFImpl for Asks<Q, N> {
    fn name(&self) -> &str {
        Q::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// What cannot be coerced stays as it is, for [`Self::return_type`] to refuse in words: an error
    /// here would be replaced by DataFusion's own.
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let wanted = |(place, given): (usize, &DataType)| match place.checked_sub(Q::CONSTANTS) {
            None => given.clone(),
            Some(0) => match given {
                DataType::Timestamp(_, zone) => {
                    DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
                }
                DataType::Null => DataType::Timestamp(TimeUnit::Microsecond, None),
                other => other.clone(),
            },
            Some(1) => match given {
                DataType::Null => DataType::Int64,
                whole if whole.is_integer() => DataType::Int64,
                other => other.clone(),
            },
            Some(place) if place < 2 + N => DataType::Utf8View,
            Some(_) => match given {
                DataType::Null => DataType::Boolean,
                other => other.clone(),
            },
        };
        Ok(types.iter().enumerate().map(wanted).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let conditions = types.len().saturating_sub(Self::BEFORE_CONDITIONS);
        if conditions == 0 || conditions > Q::CONDITIONS_MAX {
            let most = Q::CONDITIONS_MAX;
            let message = format!("{conditions} conditions, and there are 1 to {most}");
            return Err(wrong::<Q, N>(message));
        }
        let time = &types[Q::CONSTANTS];
        if !matches!(time, DataType::Timestamp(TimeUnit::Microsecond, _)) {
            let time = type_name(time);
            let message = format!("a {time} stands where the time of the event belongs");
            return Err(wrong::<Q, N>(message));
        }
        let seq = &types[Q::CONSTANTS + 1];
        if *seq != DataType::Int64 {
            let seq = type_name(seq);
            let message = format!("a {seq} stands where `seq`, the client's counter, belongs");
            return Err(wrong::<Q, N>(message));
        }
        for (number, given) in types[Self::BEFORE_CONDITIONS..].iter().enumerate() {
            if *given != DataType::Boolean {
                let (number, given) = (number + 1, type_name(given));
                let message = format!("condition {number} is {given}, not true or false");
                return Err(wrong::<Q, N>(message));
            }
        }
        Ok(Q::data_type(conditions))
    }

    /// Events are put in order by the question itself: an ORDER BY in the call is superfluous.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(state_fields::<N>(args.name))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup(Self::collect(&args)?)))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Self::collect(&args)?))
    }
}

/// Collects what a question is then asked of.
struct Collect<Q, const N: usize> {
    question: Q,
    hits: Hits<N>,
}

impl<Q: Question<N>, const N: usize> GroupsAccumulator for Collect<Q, N> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()> {
        self.hits.add(&values[Q::CONSTANTS..], |row| groups[row], filter, group_count)
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let groups = self.hits.take(emit);
        self.question.answer(&groups, groups.texts())
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        self.hits.state(emit)
    }

    fn merge_batch(
        &mut self,
        state: &[ArrayRef],
        groups: &[usize],
        group_count: usize,
    ) -> Result<()> {
        self.hits.merge(state, |row| groups[row], group_count)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values[Q::CONSTANTS].len();
        let mut hits = Hits::<N>::new(self.question.keeps_all());
        hits.add(&values[Q::CONSTANTS..], |row| row, filter, rows)?;
        hits.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.hits.bytes()
    }
}

/// All rows are one group.
struct OneGroup<Q, const N: usize>(Collect<Q, N>);

impl<Q, const N: usize> Debug for OneGroup<Q, N> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("OneGroup")
    }
}

impl<Q: Question<N>, const N: usize> Accumulator for OneGroup<Q, N> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.hits.add(&values[Q::CONSTANTS..], |_| 0, None, 1)
    }

    /// Of a copy: a window asks again after each row.
    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.is_there();
        let groups = self.0.hits.clone().take(EmitTo::All);
        ScalarValue::try_from_array(&self.0.question.answer(&groups, groups.texts())?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.is_there();
        let state = self.0.hits.state(EmitTo::All)?;
        state.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn merge_batch(&mut self, state: &[ArrayRef]) -> Result<()> {
        self.0.hits.merge(state, |_| 0, 1)
    }

    fn size(&self) -> usize {
        self.0.hits.bytes()
    }
}

impl<Q: Question<N>, const N: usize> OneGroup<Q, N> {
    /// Without rows there is a group all the same.
    fn is_there(&mut self) {
        self.0.hits.at_least(1);
    }
}

/// The schema of a struct's fields, all of which may be NULL.
pub(super) fn fields(columns: &[(&str, DataType)]) -> arrow::datatypes::Fields {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Schema::new(fields.collect::<Vec<_>>()).fields
}

/// A list of `entry`.
pub(super) fn list_of(entry: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(entry, true)))
}

//! The template's tables, made in the embedded engine through the real client.

use crate::error::Error;
use crate::template::{AttributeDefinition, Index, Key, Table};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, DisplayErrorContext};
use aws_sdk_dynamodb::types::{
    AttributeDefinition as SdkAttribute, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TableDescription,
    TimeToLiveSpecification,
};

/// Makes the tables that are missing. Returns whether all were: then the store is new.
pub async fn create(client: &Client, tables: &[Table]) -> Result<bool, Error> {
    let reply =
        client.list_tables().send().await.map_err(|error| Error::Engine(DisplayErrorContext(error).to_string()))?;
    let there = reply.table_names();
    for table in tables {
        let name = &table.name;
        let done = if there.contains(name) { compare(client, table).await } else { make(client, table).await };
        done.map_err(|cause| Error::Table { table: name.clone(), cause })?;
    }
    Ok(!tables.iter().any(|table| there.contains(&table.name)))
}

async fn make(client: &Client, table: &Table) -> Result<(), String> {
    let properties = &table.properties;
    let wrong = |error: BuildError| error.to_string();
    let attributes = properties.attribute_definitions.iter().map(attribute).collect::<Result<_, _>>().map_err(wrong)?;
    let mut request = client
        .create_table()
        .table_name(&table.name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(attributes))
        .set_key_schema(Some(keys(&properties.key_schema).map_err(wrong)?));
    for definition in &properties.global_secondary_indexes {
        request = request.global_secondary_indexes(index(definition).map_err(wrong)?);
    }
    if let Some(stream) = &properties.stream_specification {
        let view = StreamViewType::from(stream.stream_view_type.as_str());
        let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(view).build();
        request = request.stream_specification(stream.map_err(wrong)?);
    }
    request.send().await.map_err(|error| DisplayErrorContext(error).to_string())?;
    if let Some(ttl) = &properties.time_to_live_specification {
        let ttl = TimeToLiveSpecification::builder().attribute_name(&ttl.attribute_name).enabled(ttl.enabled).build();
        let request = client.update_time_to_live().table_name(&table.name);
        let request = request.time_to_live_specification(ttl.map_err(wrong)?);
        request.send().await.map_err(|error| DisplayErrorContext(error).to_string())?;
    }
    Ok(())
}

/// A table that an older template made must be what this one describes.
async fn compare(client: &Client, table: &Table) -> Result<(), String> {
    let reply = client.describe_table().table_name(&table.name).send().await;
    let reply = reply.map_err(|error| DisplayErrorContext(error).to_string())?;
    let there = reply.table.ok_or("the engine does not describe it")?;
    let wanted: Vec<&str> = table.properties.key_schema.iter().map(|key| key.attribute_name.as_str()).collect();
    let had: Vec<&str> = there.key_schema().iter().map(|key| key.attribute_name()).collect();
    let streams = there.stream_specification().is_some_and(|stream| stream.stream_enabled());
    if wanted != had || indexes(table) != indexes_there(&there) {
        return Err("the template gives it other keys or indexes than the data directory: choose another --data".into());
    }
    if streams != table.properties.stream_specification.is_some() {
        return Err("the template gives it another stream than the data directory: choose another --data".into());
    }
    Ok(())
}

fn indexes(table: &Table) -> Vec<&str> {
    let mut names: Vec<&str> =
        table.properties.global_secondary_indexes.iter().map(|index| index.index_name.as_str()).collect();
    names.sort_unstable();
    names
}

fn indexes_there(table: &TableDescription) -> Vec<&str> {
    let mut names: Vec<&str> = table.global_secondary_indexes().iter().filter_map(|index| index.index_name()).collect();
    names.sort_unstable();
    names
}

fn attribute(definition: &AttributeDefinition) -> Result<SdkAttribute, BuildError> {
    SdkAttribute::builder()
        .attribute_name(&definition.attribute_name)
        .attribute_type(ScalarAttributeType::from(definition.attribute_type.as_str()))
        .build()
}

fn keys(schema: &[Key]) -> Result<Vec<KeySchemaElement>, BuildError> {
    let element = |key: &Key| {
        let key_type = KeyType::from(key.key_type.as_str());
        KeySchemaElement::builder().attribute_name(&key.attribute_name).key_type(key_type).build()
    };
    schema.iter().map(element).collect()
}

fn index(definition: &Index) -> Result<GlobalSecondaryIndex, BuildError> {
    let mut projection =
        Projection::builder().projection_type(ProjectionType::from(definition.projection.projection_type.as_str()));
    if !definition.projection.non_key_attributes.is_empty() {
        projection = projection.set_non_key_attributes(Some(definition.projection.non_key_attributes.clone()));
    }
    GlobalSecondaryIndex::builder()
        .index_name(&definition.index_name)
        .set_key_schema(Some(keys(&definition.key_schema)?))
        .projection(projection.build())
        .build()
}

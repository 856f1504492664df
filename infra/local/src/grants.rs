//! `boxoffice grant-role`: gives an account on AWS a role. This is how a new stack gets its first administrator, who gives
//! others theirs over HTTP. It asks no right of the box office: whoever may write to the table may do it.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::DisplayErrorContext;
use domain::access::Role;
use platform::store::{Accounts, Db};

/// Pages of tables that are looked through; a page is a hundred.
const TABLE_PAGES_MAX: usize = 25;
/// What CloudFormation puts into the name of the table, between the stack's name and letters of its own.
const ACCOUNTS: &str = "-Accounts-";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose account; it has to be there.
    pub email: String,
    pub role: Role,
    /// The table of accounts; absent, it is found by its name.
    pub table: Option<String>,
}

/// Does it. The text is for whoever asked, and so is the error. Tokens that are out already have the roles of before, for the
/// quarter of an hour that they are good for.
pub async fn run(ask: &Grant) -> Result<String, String> {
    let client = Client::new(&platform::aws::sdk().await);
    let table = match &ask.table {
        Some(table) => table.clone(),
        None => find(&tables(&client).await?)?.to_owned(),
    };
    let accounts = Accounts(Db::new(client, Ok(&table)));
    let account = accounts.by_email(&ask.email).await.map_err(|error| format!("{table}: {error}"))?;
    let mut account = account.ok_or_else(|| format!("{table} has no account of {}: sign up first", ask.email))?;
    if !account.roles.contains(&ask.role) {
        account.roles.push(ask.role);
        account.v += 1;
        accounts.save(&account).await.map_err(|error| format!("{table}: {error}"))?;
    }
    Ok(format!("{} ({}) is {:?}\n", account.email, account.id, account.roles))
}

async fn tables(client: &Client) -> Result<Vec<String>, String> {
    let (mut names, mut start) = (Vec::new(), None);
    for _ in 0..TABLE_PAGES_MAX {
        let page = client.list_tables().set_exclusive_start_table_name(start).send().await;
        let page = page.map_err(|error| DisplayErrorContext(error).to_string())?;
        names.extend(page.table_names.unwrap_or_default());
        start = page.last_evaluated_table_name;
        if start.is_none() {
            return Ok(names);
        }
    }
    Err("there are too many tables: name one with --table".to_owned())
}

fn find(names: &[String]) -> Result<&str, String> {
    let meant: Vec<&str> = names.iter().map(String::as_str).filter(|name| name.contains(ACCOUNTS)).collect();
    match meant[..] {
        [name] => Ok(name),
        [] => Err("there is no table of accounts: is this the account and the region of the stack?".to_owned()),
        _ => Err(format!("there are several stacks; add --table with one of {}", meant.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_found_if_there_is_one() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(find(&names(&["dev-Orders-A1", "dev-Accounts-B2"])), Ok("dev-Accounts-B2"));
        assert!(find(&names(&["dev-Orders-A1"])).is_err_and(|error| error.contains("no table of accounts")));
        let several = names(&["dev-Accounts-B2", "prod-Accounts-C3"]);
        assert!(find(&several).is_err_and(|error| error.contains("dev-Accounts-B2, prod-Accounts-C3")));
    }
}

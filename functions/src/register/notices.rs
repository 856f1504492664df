//! What one was told, and when and of what one wants to be told in one's chats.

use axum::extract::State;
use domain::ids::NoticeId;
use domain::notices::{GROUPS, Group, Link, Notice, Quiet, Settings, SettingsRefused};
use domain::texts::Locale;
use jiff::Timestamp;
use jiff::civil::Time;
use platform::App;
use platform::http::{Buyer, FieldError, Json, Page, PageIn, Problem, Query};
use platform::store::notice_cursor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How quiet hours are written: hours and minutes, two digits each.
const TIME_FORMAT: &str = "%H:%M";
const TIME_CHARS: usize = 5;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(notices)).routes(routes!(settings, change_settings))
}

#[derive(Debug, Serialize, ToSchema)]
struct NoticeOut {
    #[schema(value_type = String)]
    id: NoticeId,
    /// What happened, such as `order.paid`, `event.cancelled` or `subscription.charged`.
    #[schema(value_type = String)]
    kind: &'static str,
    #[schema(value_type = String)]
    group: Group,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// In one's own language: HTML of `b`, with everything else escaped.
    html: String,
    links: Vec<NoticeLinkOut>,
}

#[derive(Debug, Serialize, ToSchema)]
struct NoticeLinkOut {
    text: String,
    url: String,
}

impl NoticeOut {
    fn new(notice: &Notice, locale: Locale, base: &str) -> Self {
        let text = notice.text(locale);
        let link = |link: Link| NoticeLinkOut { text: link.text, url: format!("{base}{}", link.path) };
        Self {
            id: notice.id,
            kind: notice.kind.name(),
            group: notice.kind.rules().group,
            at: notice.at,
            html: text.html,
            links: text.links.into_iter().map(link).collect(),
        }
    }
}

/// What one was told, the latest first: all of it, whatever was muted or could not be delivered.
#[utoipa::path(
    get, path = "/me/notices", tag = "notices", security(("bearer" = [])), params(PageIn),
    responses((status = 200, body = Page<NoticeOut>), (status = 422, description = "`invalid`"))
)]
async fn notices(
    State(app): State<App>,
    buyer: Buyer,
    Query(page): Query<PageIn>,
) -> Result<axum::Json<Page<NoticeOut>>, Problem> {
    let limit = usize::from(page.limit()?);
    let wrong = || Problem::field("/cursor", "is not a cursor of this list");
    let after = page.cursor.map(|cursor| notice_cursor(&cursor).ok_or_else(wrong)).transpose()?;
    let account = app.accounts.get(buyer.id).await?;
    let locale = account.map_or_else(Locale::default, |account| Locale::of_tag(&account.locale));
    let base = app.config.get("PUBLIC_URL").map_err(|missing| Problem::internal(missing.to_string()))?;
    let (notices, next_cursor) = app.notices.page(buyer.id, limit, after).await?;
    let items = notices.iter().map(|notice| NoticeOut::new(notice, locale, base)).collect();
    Ok(axum::Json(Page { items, next_cursor }))
}

/// When and of what one wants to be told in one's chats. What was told is in the list of notices in any case.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NoticeSettings {
    /// IANA name of the time zone that quiet hours are of.
    #[schema(example = "Europe/Moscow")]
    zone: String,
    /// Hours of each day in which nothing is delivered that can wait: money and offers cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quiet: Option<QuietHours>,
    /// Of `orders`, `events`, `reminders`, `subscriptions` and `alerts`, those that are not delivered. Confirmations,
    /// cancellations and declined charges are delivered all the same.
    #[serde(default)]
    muted: Vec<String>,
}

/// From `from` until before `to`, over midnight where `to` is the earlier of the two.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct QuietHours {
    #[schema(example = "22:00")]
    from: String,
    #[schema(example = "08:00")]
    to: String,
}

impl From<Settings> for NoticeSettings {
    fn from(settings: Settings) -> Self {
        let shown = |time: Time| time.strftime(TIME_FORMAT).to_string();
        let named = |group: &Group| GROUPS.iter().find(|(_, known)| known == group).expect("all have names").0;
        Self {
            zone: settings.zone,
            quiet: settings.quiet.map(|quiet| QuietHours { from: shown(quiet.from), to: shown(quiet.to) }),
            muted: settings.muted.iter().map(|group| named(group).to_owned()).collect(),
        }
    }
}

impl NoticeSettings {
    /// These as they are kept, or everything that is wrong with them.
    fn checked(&self) -> Result<Settings, Problem> {
        let mut errors = Vec::new();
        let mut wrong = |pointer: String, detail: String| errors.push(FieldError { pointer, detail });
        let mut muted = BTreeSet::new();
        for (nth, name) in self.muted.iter().enumerate().take(GROUPS.len() + 1) {
            match GROUPS.iter().find(|(known, _)| known == name) {
                Some((_, group)) if muted.insert(*group) => {}
                Some(_) => wrong(format!("/muted/{nth}"), "is named twice".into()),
                None => {
                    let names: Vec<_> = GROUPS.iter().map(|(name, _)| *name).collect();
                    wrong(format!("/muted/{nth}"), format!("must be one of {}", names.join(", ")));
                }
            }
        }
        let mut time = |pointer: &str, text: &str| {
            let time = Time::strptime(TIME_FORMAT, text).ok().filter(|_| text.len() == TIME_CHARS);
            if time.is_none() {
                wrong(pointer.into(), "must be a time of day such as 22:00".into());
            }
            time
        };
        let quiet = self.quiet.as_ref().map(|hours| (time("/quiet/from", &hours.from), time("/quiet/to", &hours.to)));
        let quiet = quiet.and_then(|(from, to)| Some(Quiet { from: from?, to: to? }));
        let settings = Settings { zone: self.zone.clone(), quiet, muted };
        match settings.check() {
            Err(refused @ SettingsRefused::Zone) => wrong("/zone".into(), refused.to_string()),
            Err(refused @ SettingsRefused::Quiet) => wrong("/quiet".into(), refused.to_string()),
            Ok(()) => {}
        }
        if errors.is_empty() { Ok(settings) } else { Err(Problem::invalid(errors)) }
    }
}

/// One's own wishes of when and of what to be told.
#[utoipa::path(
    get, path = "/me/notice-settings", tag = "notices", security(("bearer" = [])),
    responses((status = 200, body = NoticeSettings))
)]
async fn settings(State(app): State<App>, buyer: Buyer) -> Result<axum::Json<NoticeSettings>, Problem> {
    Ok(axum::Json(app.notices.settings(buyer.id).await?.into()))
}

/// Say when and of what one wants to be told; what is absent is as if it had never been said.
#[utoipa::path(
    put, path = "/me/notice-settings", tag = "notices", security(("bearer" = [])), request_body = NoticeSettings,
    responses((status = 200, body = NoticeSettings), (status = 422, description = "`invalid`"))
)]
async fn change_settings(
    State(app): State<App>,
    buyer: Buyer,
    Json(ask): Json<NoticeSettings>,
) -> Result<axum::Json<NoticeSettings>, Problem> {
    let settings = ask.checked()?;
    app.notices.put_settings(buyer.id, &settings).await?;
    Ok(axum::Json(settings.into()))
}

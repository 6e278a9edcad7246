//! The shop as an organization of its own, with keys and with its pages as articles.

use std::{collections::BTreeMap, time::Duration};

use openclaw_actors::{
    clock::Timestamp,
    ids::{ArticleId, OrgId},
    keys::{Granter, KeyError, KeyKind, KeyRing, KeyText},
    knowledge::{
        Knowledge,
        article::{Draft, Fields},
        markup::MarkupError,
        messages::{KnowledgeError, Precondition, PutArticle, PutTarget},
    },
    organization::{Organization, OrganizationPatch, Organizations},
    patch::Change,
    store::StoreError,
};

use super::articles;
use crate::{article_file::ArticleFile, server::Parts};

/// By which the shop is found again: nothing else is kept of it outside the store.
const NAME: &str = "Fern & Field (demonstration)";

/// Where its articles come from, so that they are not taken for anybody else's.
const SOURCE: &str = "demo";

/// How long the keys of the last start go on working, for a terminal that still uses them.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// Rows read at once.
const PAGE: i64 = 100;

/// The shop, open.
#[derive(Debug)]
pub struct Shop {
    /// Full access, shown once.
    pub primary: KeyText,
    /// Full access, shown once.
    pub secondary: KeyText,
    /// It was there already, so its keys are new ones.
    pub is_reopened: bool,
    /// How many articles it has.
    pub articles: usize,
}

/// The shop could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// Its keys cannot be made.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The store is away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A page cannot be read.
    #[error(transparent)]
    Page(#[from] MarkupError),
    /// A page cannot be made an article.
    #[error(transparent)]
    Knowledge(#[from] KnowledgeError),
}

/// Opens the shop on a server: makes it, or finds it from an earlier start and gives it new keys, since nobody can
/// tell the old ones.
///
/// # Errors
/// See [`ShopError`].
pub async fn open(parts: &Parts) -> Result<Shop, ShopError> {
    let found = find(&parts.organizations).await?;
    let is_reopened = found.is_some();
    let (org, primary, secondary) = match found {
        Some(shop) => {
            let (primary, secondary) = renew_keys(&parts.keys, shop.id).await?;
            (shop.id, primary, secondary)
        }
        None => {
            let patch =
                OrganizationPatch { name: Change::Set(NAME.to_owned()), ..OrganizationPatch::default() };
            let made = parts.keys.create_organization(patch, |_| None).await?;
            (made.organization.id, made.primary.secret, made.secondary.secret)
        }
    };
    let articles = stock(&parts.knowledge, org).await?;
    Ok(Shop { primary, secondary, is_reopened, articles })
}

async fn find(organizations: &Organizations) -> Result<Option<Organization>, StoreError> {
    let mut after = None;
    loop {
        let page = organizations.oldest(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        after = Some(last.id);
        if let Some(shop) = page.into_iter().find(|organization| organization.name == NAME) {
            return Ok(Some(shop));
        }
    }
}

async fn renew_keys(keys: &KeyRing, org: OrgId) -> Result<(KeyText, KeyText), KeyError> {
    // An organization's two slots are its oldest keys.
    let oldest = keys.oldest(org, None, PAGE).await?;
    let renew = async |kind: KeyKind| {
        let slot = oldest.iter().find(|key| key.kind == kind).ok_or(KeyError::NotFound)?;
        let issued = keys.rotate(Granter::Operator, org, slot.id, GRACE, None).await?;
        Ok::<_, KeyError>(issued.secret)
    };
    Ok((renew(KeyKind::Primary).await?, renew(KeyKind::Secondary).await?))
}

/// Writes the articles that are not there or not as they should be, and says how many there are.
async fn stock(knowledge: &Knowledge, org: OrgId) -> Result<usize, ShopError> {
    let mut count = 0;
    for page in articles() {
        let (fields, content) = article(page);
        let draft = Draft::read(fields, content)?;
        let target = PutTarget::External(ArticleId::generate());
        let now = Timestamp::now();
        knowledge
            .put(PutArticle { org, target, draft, only_if: Precondition::None, now, idempotency: None })
            .await?;
        count += 1;
    }
    Ok(count)
}

fn article(page: ArticleFile) -> (Fields, String) {
    let ArticleFile { external_id, title, format, language, topic, url, content } = page;
    let fields = Fields {
        external_id: Some(external_id),
        source: Some(SOURCE.to_owned()),
        title,
        format,
        language: language.unwrap_or_default(),
        topic,
        url,
        metadata: BTreeMap::new(),
        published: true,
    };
    (fields, content)
}

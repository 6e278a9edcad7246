//! What a handler may ask of its caller, as types.

use openclaw_actors::keys::Scope;

/// What a handler's signature says that its caller must hold.
pub trait Permission {
    /// The scope; none where any secret key may call, because the handler asks further.
    const SCOPE: Option<Scope>;
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $scope:expr,)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl Permission for $name {
            const SCOPE: Option<Scope> = $scope;
        }
    )*};
}

permissions! {
    /// Any secret key; the handler asks for what it needs by [`Caller::require`](super::Caller::require).
    AnySecretKey = None,
    /// `conversations:read`
    ReadConversations = Some(Scope::ConversationsRead),
    /// `conversations:write`
    WriteConversations = Some(Scope::ConversationsWrite),
    /// `conversations:delete`
    DeleteConversations = Some(Scope::ConversationsDelete),
    /// `knowledge:read`
    ReadKnowledge = Some(Scope::KnowledgeRead),
    /// `knowledge:write`
    WriteKnowledge = Some(Scope::KnowledgeWrite),
    /// `analytics:read`
    ReadAnalytics = Some(Scope::AnalyticsRead),
    /// `webhooks:read`
    ReadWebhooks = Some(Scope::WebhooksRead),
    /// `webhooks:write`
    WriteWebhooks = Some(Scope::WebhooksWrite),
    /// `keys:read`
    ReadKeys = Some(Scope::KeysRead),
    /// `keys:write`
    WriteKeys = Some(Scope::KeysWrite),
    /// `organization:read`
    ReadOrganization = Some(Scope::OrganizationRead),
    /// `organization:write`
    WriteOrganization = Some(Scope::OrganizationWrite),
    /// `handover:write`
    WriteHandovers = Some(Scope::HandoverWrite),
}

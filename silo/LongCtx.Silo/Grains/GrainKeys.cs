using LongCtx.Conversations.Storage;

namespace LongCtx.Silo.Grains;

/// <summary>
/// Keys of grains: tenant/model/id. The model's tag is in a conversation's id, so whoever has the id can place it; a tenant may be any text and is escaped.
/// </summary>
internal static class GrainKeys
{
    public static string Of(ConversationKey key) => Of(key.Tenant, ConversationIds.TagOf(key.Id), key.Id);

    public static string Of(string tenant, string modelTag, string rest) => $"{Uri.EscapeDataString(tenant)}/{modelTag}/{rest}";

    /// <exception cref="FormatException">Not of this form.</exception>
    public static (string Tenant, string ModelTag, string Id) Parse(string key) =>
        key.Split('/') is [var tenant, var tag, var id] ? (Uri.UnescapeDataString(tenant), tag, id) : throw new FormatException($"'{key}' is not tenant/model/id");

    public static ConversationKey Conversation(string key) => Parse(key) is var (tenant, _, id) ? new(tenant, id) : throw new FormatException(key);
}

using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace LongCtx.Api;

/// <summary>A key as the configuration has it: whom it speaks for. The key itself is not stored anywhere, only its hash.</summary>
/// <param name="Tenant">Owner of everything that is done with the key: 1 to 64 of a-z, A-Z, 0-9, '.', '_' and '-'.</param>
/// <param name="Sha256">SHA-256 of the key's UTF-8, as 64 hex digits.</param>
public sealed record ApiKey(string Tenant, string Sha256)
{
    /// <summary>Visible beginning of every key that <see cref="New"/> makes, so that scanners and people recognise one.</summary>
    public const string Prefix = "lck_";

    const int RandomBytes = 32, TenantLengthMax = 64;

    /// <summary>What the operator calls the key.</summary>
    public string? Name { get; init; }

    /// <summary>Most conversations that the tenant may have stored; null is no limit.</summary>
    public long? MaxConversations { get; init; }

    /// <summary>Most turns of the tenant that may be in progress at a time; null is no limit.</summary>
    public int? MaxLiveTurns { get; init; }

    /// <summary>A new random key, which must be shown to its user now, and what to keep of it.</summary>
    /// <exception cref="LongCtxException">The tenant's name cannot be one.</exception>
    public static (string Secret, ApiKey Key) New(string tenant)
    {
        string secret = Prefix + Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(RandomBytes));
        ApiKey key = new(tenant, Convert.ToHexStringLower(Hash(secret)));
        key.Validate();
        return (secret, key);
    }

    /// <summary>Refuses keys that cannot be honoured, alone or together.</summary>
    /// <exception cref="LongCtxException">Says which and why.</exception>
    public static void Validate(IReadOnlyList<ApiKey> keys)
    {
        foreach (ApiKey key in keys) key.Validate();
        Check(keys.DistinctBy(k => k.Sha256.ToUpperInvariant()).Count() == keys.Count, "the same sha256 is given twice");
        foreach (IGrouping<string, ApiKey> tenant in keys.GroupBy(k => k.Tenant, StringComparer.Ordinal))
        {
            Check(AreOne(tenant.Select(k => k.MaxConversations)), $"the keys of tenant {tenant.Key} give different max_conversations");
            Check(AreOne(tenant.Select(k => (long?)k.MaxLiveTurns)), $"the keys of tenant {tenant.Key} give different max_live_turns");
        }

        static bool AreOne(IEnumerable<long?> limits) => limits.Where(l => l is not null).Distinct().Count() <= 1;
    }

    internal static byte[] Hash(string secret) => SHA256.HashData(Encoding.UTF8.GetBytes(secret));

    void Validate()
    {
        Check(Tenant is { Length: > 0 and <= TenantLengthMax } && Tenant.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-'),
            $"the tenant '{Tenant}' must be 1 to {TenantLengthMax} of a-z, A-Z, 0-9, '.', '_' and '-'");
        Check(Sha256 is { Length: 2 * SHA256.HashSizeInBytes } && Sha256.All(char.IsAsciiHexDigit),
            $"sha256 of tenant {Tenant} must be the key's SHA-256 as {2 * SHA256.HashSizeInBytes} hex digits; --new-key {Tenant} makes a key and prints it");
        Check(MaxConversations is null or >= 1, $"max_conversations of tenant {Tenant} must be at least 1, not {MaxConversations}");
        Check(MaxLiveTurns is null or >= 1, $"max_live_turns of tenant {Tenant} must be at least 1, not {MaxLiveTurns}");
    }

    static void Check(bool valid, string problem)
    {
        if (!valid) throw new LongCtxException(ErrorCode.InvalidRequest, "keys: " + problem, "keys");
    }
}

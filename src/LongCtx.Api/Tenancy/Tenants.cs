using System.Security.Cryptography;
using Microsoft.AspNetCore.Http.Features;

namespace LongCtx.Api;

/// <summary>The one place that says whose request it is: the tenant of its API key, or the only tenant where no keys are configured.</summary>
internal sealed class Tenants
{
    public const string Default = "default";

    readonly (byte[] Hash, string Tenant)[] keys;

    public Tenants(ApiOptions options) => keys = [.. options.Keys.Select(k => (Convert.FromHexString(k.Sha256), k.Tenant))];

    /// <summary>Lets a request through to an endpoint only with a key that is known.</summary>
    public RequestDelegate Require(RequestDelegate endpoint) => http =>
    {
        http.Features.Set(new Caller(keys.Length == 0 ? Default : Find(BearerToken(http.Request))));
        return endpoint(http);
    };

    /// <summary>The tenant of a request that came through <see cref="Require"/>; any other is a mistake of ours and fails.</summary>
    public static string Of(HttpContext http) => http.Features.GetRequiredFeature<Caller>().Tenant;

    static string BearerToken(HttpRequest request)
    {
        const string Scheme = "Bearer ";
        string header = request.Headers.Authorization.ToString();
        string token = header.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase) ? header[Scheme.Length..].Trim() : "";
        return token.Length > 0 ? token
            : throw Refusal($"This server needs an API key: send 'Authorization: Bearer {ApiKey.Prefix}...'; its operator has one for you.");
    }

    /// <summary>Compares hashes in fixed time, and all of them: the time taken tells nothing about a key.</summary>
    string Find(string secret)
    {
        byte[] hash = ApiKey.Hash(secret);
        string? tenant = null;
        foreach ((byte[] known, string owner) in keys)
        {
            if (CryptographicOperations.FixedTimeEquals(known, hash)) tenant = owner;
        }
        return tenant ?? throw Refusal("The API key is not known to this server: check it, or ask the server's operator for one.");
    }

    static LongCtxException Refusal(string message) => new(ErrorCode.Unauthorized, message);

    sealed record Caller(string Tenant);
}

using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using LongCtx.Api;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Orleans.Dashboard;

namespace LongCtx.Silo;

/// <summary>
/// Orleans' dashboard at /dashboard, for whoever has a key of the tenant <see cref="Operator"/>: it shows every tenant's grains. Browsers ask for it as a password (the user's name does not matter).
/// Without such a key there is no dashboard.
/// </summary>
internal static class Dashboard
{
    public const string Operator = "operator", Path = "/dashboard";

    public static bool IsWanted(IReadOnlyList<ApiKey> keys) => keys.Any(k => k.Tenant == Operator);

    public static void MapLongCtxDashboard(this WebApplication app, IReadOnlyList<ApiKey> keys)
    {
        if (!IsWanted(keys)) return;
        byte[][] hashes = [.. keys.Where(k => k.Tenant == Operator).Select(k => Convert.FromHexString(k.Sha256))];
        app.Use(async (http, next) =>
        {
            if (!http.Request.Path.StartsWithSegments(Path, StringComparison.OrdinalIgnoreCase) || IsOperator(http.Request, hashes))
            {
                await next(http);
                return;
            }

            http.Response.Headers.WWWAuthenticate = "Basic realm=\"LongCtx operator\", charset=\"UTF-8\"";
            await LongCtxApi.RefuseAsync(http, 401, "unauthorized", $"The dashboard is for operators: give a key of the tenant '{Operator}' as the password.");
        });
        app.MapOrleansDashboard(routePrefix: Path);
    }

    static bool IsOperator(HttpRequest request, byte[][] hashes)
    {
        if (!AuthenticationHeaderValue.TryParse(request.Headers.Authorization, out AuthenticationHeaderValue? given) || given.Parameter is not { } parameter) return false;
        string secret = parameter;
        if (given.Scheme.Equals("Basic", StringComparison.OrdinalIgnoreCase))
        {
            Span<byte> decoded = new byte[parameter.Length];
            if (!Convert.TryFromBase64String(parameter, decoded, out int length)) return false;
            string pair = Encoding.UTF8.GetString(decoded[..length]);
            secret = pair[(pair.IndexOf(':', StringComparison.Ordinal) + 1)..];
        }

        byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes(secret));
        return hashes.Any(known => CryptographicOperations.FixedTimeEquals(known, hash));
    }
}

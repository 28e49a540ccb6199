using System.Net;
using Microsoft.AspNetCore.Http;

namespace LongCtx.Server;

/// <summary>An address to listen on, checked before the web server takes it: a host name it does not know would mean 'everywhere'.</summary>
internal static class ListenAddress
{
    public static void Parse(string url, bool allowRemote)
    {
        BindingAddress address;
        try
        {
            address = BindingAddress.Parse(url);
        }
        catch (Exception e) when (e is FormatException or InvalidOperationException)
        {
            throw Bad($"'{url}' is not an address like {ServerOptions.DefaultUrl}");
        }
        if (address.Scheme.Equals("https", StringComparison.OrdinalIgnoreCase))
            throw Bad($"'{url}' is https, which this server does not speak; put a TLS proxy in front of an http address");
        if (!address.Scheme.Equals("http", StringComparison.OrdinalIgnoreCase)) throw Bad($"'{url}' must begin with http://");
        if (address.PathBase.Length > 0) throw Bad($"'{url}' must not have a path");
        if (!address.IsUnixPipe && address.Port is < 0 or > ushort.MaxValue) throw Bad($"the port of '{url}' must be 0 to {ushort.MaxValue}");
        if (!allowRemote && !IsLocal(address))
            throw Bad($"'{url}' can be reached from other machines; use {ServerOptions.DefaultUrl}, or configure API keys (--new-key TENANT makes one) and add --allow-remote");
    }

    static bool IsLocal(BindingAddress address) =>
        address.IsUnixPipe
        || address.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase)
        || (IPAddress.TryParse(address.Host.Trim('[', ']'), out IPAddress? ip) && IPAddress.IsLoopback(ip));

    static LongCtxException Bad(string reason) => new(ErrorCode.InvalidRequest, $"--urls: {reason}", "urls");
}

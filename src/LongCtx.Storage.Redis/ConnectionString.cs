using System.Net;
using LongCtx.Conversations.Storage;
using StackExchange.Redis;

namespace LongCtx.Storage.Redis;

/// <summary>Reads a connection string without ever repeating any of it: a part of a password may stand anywhere in a mistaken one.</summary>
internal static class ConnectionString
{
    const string Form = "Write host:port,host:port,password=...,ssl=true: servers first, then options as StackExchange.Redis knows them; no URL, and no comma in a password.";

    /// <exception cref="StoreException">It cannot be read.</exception>
    public static ConfigurationOptions Parse(string text)
    {
        string[] parts = text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        bool hasOption = false;
        for (int i = 0; i < parts.Length; i++)
        {
            bool isOption = parts[i].Contains('=', StringComparison.Ordinal);
            bool isServer = !isOption && !hasOption && parts[i].IndexOfAny(['@', '/', ' ']) < 0;
            if (!isServer && !(isOption && IsReadable(parts[i]))) throw Refusal($"part {i + 1} of {parts.Length} is neither a server nor an option");
            hasOption |= isOption;
        }
        if (parts.Length == 0 || parts[0].Contains('=', StringComparison.Ordinal)) throw Refusal("it names no server");
        return ConfigurationOptions.Parse(text);
    }

    /// <summary>The servers alone.</summary>
    public static string Servers(ConfigurationOptions options) => string.Join(", ", options.EndPoints.Select(Text));

    public static string Text(EndPoint server) => server switch
    {
        DnsEndPoint dns => $"{dns.Host}:{dns.Port}",
        _ => server.ToString()!,
    };

    static bool IsReadable(string option)
    {
        try
        {
            ConfigurationOptions.Parse(option);
            return true;
        }
        catch (Exception e) when (e is ArgumentException or FormatException or OverflowException)
        {
            return false;
        }
    }

    static StoreException Refusal(string reason) => new($"The connection string of Redis cannot be read: {reason}. {Form}", isTransient: false);
}

using System.CommandLine;
using System.CommandLine.Parsing;
using LongCtx.Client;
using LongCtx.Server;

namespace LongCtx.Cli.Options;

/// <summary>--server URL [--api-key KEY]: which server, and as whom.</summary>
internal sealed class ServerChoice
{
    /// <summary>Tried again so long in the middle of something: a server that restarts is waited for.</summary>
    static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    readonly Option<string> _server = new("--server")
    {
        Description = "Where the LongCtx server listens.", HelpName = "URL", DefaultValueFactory = _ => ServerOptions.DefaultUrl,
    };

    readonly Option<string?> _key = new("--api-key")
    {
        Description = $"The API key, where the server asks for one. Unset: that of {ServerOptions.ClientKeyVariable}; other users of this machine see command lines.", HelpName = "KEY",
    };

    public void AddTo(Command command)
    {
        command.Add(_server);
        command.Add(_key);
    }

    public bool IsGiven(SymbolResult result) => Common.IsGiven(result, _server) || Common.IsGiven(result, _key);

    /// <summary>A client that fails at once when the server cannot be reached.</summary>
    public LongCtxClient Client(ParseResult result) => new(Settings(result) with { RetryFor = TimeSpan.Zero, ReconnectFor = TimeSpan.Zero });

    /// <summary>One that waits for a server to come back.</summary>
    public LongCtxClient PatientClient(ParseResult result) => new(Settings(result) with { RetryFor = Patience, ReconnectFor = Patience });

    LongCtxClientOptions Settings(ParseResult result)
    {
        string text = result.GetValue(_server)!;
        if (!Uri.TryCreate(text, UriKind.Absolute, out Uri? server) || server.Scheme is not ("http" or "https"))
            throw new LongCtxException(ErrorCode.InvalidRequest, $"--server '{text}' is not possible: give an address like {ServerOptions.DefaultUrl}", "server");
        string? key = result.GetValue(_key) ?? Environment.GetEnvironmentVariable(ServerOptions.ClientKeyVariable);
        return new() { Server = server, ApiKey = string.IsNullOrEmpty(key) ? null : key };
    }
}

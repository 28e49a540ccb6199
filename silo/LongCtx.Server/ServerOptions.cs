using LongCtx.Api;
using LongCtx.Conversations.Storage;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Scheduling;
using Microsoft.Extensions.Logging;

namespace LongCtx.Server;

/// <summary>Settings of one server process. <see cref="Validate"/> is called once, at start.</summary>
public sealed record ServerOptions
{
    public const string DefaultUrl = "http://127.0.0.1:8080";
    public const string NoData = "none";

    /// <summary>Where clients on this machine look for their API key; it says nothing to the server.</summary>
    public const string ClientKeyVariable = "LONGCTX_API_KEY";

    const int MebibytesMax = 1023;

    /// <summary>The user's own directory for application data, mostly ~/.local/share/longctx.</summary>
    public static string DefaultData =>
        Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify), "longctx");

    /// <summary>Where to listen: http addresses, several separated by ';' in the text forms.</summary>
    public IReadOnlyList<string> Urls { get; init; } = [DefaultUrl];

    /// <summary>Models to load: names of bundled ones or paths. Empty is the bundled default.</summary>
    public IReadOnlyList<string> Models { get; init; } = [];

    /// <summary>Static adapters of the models, as NAME=DIR or MODEL:NAME=DIR; requests call them MODEL:NAME.</summary>
    public IReadOnlyList<string> Adapters { get; init; } = [];

    public string Policy { get; init; } = "endless";

    /// <summary>Most keys a token may see (C); null is the model's own default.</summary>
    public int? Capacity { get; init; }

    /// <summary>Compute threads; null is one per core.</summary>
    public int? Threads { get; init; }

    /// <summary>Where conversations are kept: one database and the saved KV states. Null is <see cref="DefaultData"/>; "none" keeps none.</summary>
    public string? Data { get; init; }

    /// <summary>What an acknowledged write survives.</summary>
    public Durability Durability { get; init; } = Durability.Standard;

    /// <summary>Events of a conversation that are kept at least; 0 keeps all.</summary>
    public int RetainEvents { get; init; }

    /// <summary>Tokens after which a reply ends that was asked for without a limit; null is the host's own default.</summary>
    public int? MaxReply { get; init; }

    /// <summary>Most of the engine's time that adapters of one tenant may learn, in percent; 0: conversations do not learn here. Null is the engine's own default.</summary>
    public int? TrainingShare { get; init; }

    /// <summary>Milliseconds by which learning may delay everybody's next token; null is the engine's own default.</summary>
    public int? TrainingSlice { get; init; }

    /// <summary>Who may use the API. None is whoever can connect, which is then this machine only.</summary>
    public IReadOnlyList<ApiKey> Keys { get; init; } = [];

    /// <summary>Listen on addresses that other machines reach; needs <see cref="Keys"/>.</summary>
    public bool AllowRemote { get; init; }

    /// <summary>Largest request body.</summary>
    public int MaxBodyMebibytes { get; init; } = 32;

    /// <summary>An OpenTelemetry collector that takes OTLP over HTTP; null exports nothing.</summary>
    public Uri? Otlp { get; init; }

    /// <summary>Least severe messages that go to standard error.</summary>
    public LogLevel Log { get; init; } = LogLevel.Information;

    /// <summary>Throws a <see cref="LongCtxException"/> naming the first setting that cannot be honoured.</summary>
    public void Validate()
    {
        Check(Urls.Count > 0, "urls", "at least one address is needed");
        foreach (string url in Urls) ListenAddress.Parse(url, AllowRemote);
        Check(Data is null || Data.Trim().Length > 0, "data", "a directory must be named, or none");
        Check(RetainEvents >= 0, "retain-events", $"it must be 0 (keep all) or more, not {RetainEvents}");
        Check(MaxReply is null or >= 1, "max-reply", $"it must be at least 1 token, not {MaxReply}");
        Check(TrainingShare is null or (>= 0 and <= 100), "training-share", $"it must be 0 (nothing is learned) to 100 percent, not {TrainingShare}");
        Check(TrainingSlice is null or (>= 1 and <= 1000), "training-slice", $"it must be 1 to 1000 milliseconds, not {TrainingSlice}");
        ApiKey.Validate(Keys);
        Check(!AllowRemote || Keys.Count > 0, "allow-remote", "without API keys only this machine may connect; make a key with --new-key TENANT and configure it as 'keys'");
        Check(Models.All(m => m.Trim().Length > 0), "model", "a model name or path must not be empty");
        foreach (string adapter in Adapters)
            Check(adapter.IndexOf('=', StringComparison.Ordinal) is > 0 and var at && at < adapter.Length - 1, "adapter", $"'{adapter}' must be NAME=DIR, or MODEL:NAME=DIR");
        Check(PolicyOptions.Presets.Contains(Policy), "policy", $"'{Policy}' is none of {string.Join(", ", PolicyOptions.Presets)}");
        Check(Capacity is null or >= 1, "capacity", $"it must be at least 1 token, not {Capacity}");
        Check(Threads is null or (>= 1 and <= EngineOptions.ThreadsMax), "threads", $"it must be 1 to {EngineOptions.ThreadsMax}, not {Threads}");
        Check(Otlp is null || Otlp is { IsAbsoluteUri: true, Scheme: "http" or "https" }, "otlp", $"'{Otlp}' is not an address like http://127.0.0.1:4318");
        Check(MaxBodyMebibytes is >= 1 and <= MebibytesMax, "max-body-mib", $"it must be 1 to {MebibytesMax} MiB, not {MaxBodyMebibytes}");
    }

    static void Check(bool valid, string option, string reason)
    {
        if (!valid) throw new LongCtxException(ErrorCode.InvalidRequest, $"--{option}: {reason}", option);
    }
}

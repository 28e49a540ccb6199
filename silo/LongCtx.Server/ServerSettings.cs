using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using LongCtx.Api;
using LongCtx.Conversations.Storage;
using LongCtx.Engine.Models;
using Microsoft.Extensions.Logging;

namespace LongCtx.Server;

/// <summary>
/// Collects the options from longctx.json in the current directory, the environment and the command line; the later wins. A name that is not known is refused, so
/// that a typing error is never a silent default.
/// </summary>
internal sealed class ServerSettings
{
    const string EnvironmentPrefix = "LONGCTX_";
    public const string FileName = "longctx.json";

    public static readonly IReadOnlyList<string> Names = ["urls", "model", "adapter", "policy", "capacity", "threads", "data", "durability", "retain-events", "max-reply", "training-share", "training-slice", "keys", "allow-remote", "max-body-mib", "otlp", "log"];

    static readonly JsonSerializerOptions KeyJson = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        AllowDuplicateProperties = false,
    };

    readonly Dictionary<string, IReadOnlyList<string>> values = new(StringComparer.Ordinal);
    readonly Dictionary<string, string> origins = new(StringComparer.Ordinal);

    readonly IReadOnlyList<string> known;

    ServerSettings(IReadOnlyList<string> known) => this.known = known;

    public static ServerOptions Read(IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string> environment, string directory) =>
        Collect(arguments, environment, directory, []).ToOptions();

    /// <summary>The same for a program that has options of its own.</summary>
    public static ServerSettings Collect(
        IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string> environment, string directory, IReadOnlyList<string> more)
    {
        ServerSettings settings = new([.. Names, .. more]);
        settings.AddFile(Path.Combine(directory, FileName));
        settings.AddEnvironment(environment);
        settings.AddArguments(arguments);
        return settings;
    }

    /// <summary>{"urls": "http://127.0.0.1:8080", "model": ["smollm2-135m-instruct"], "capacity": 4096, "allow-remote": false}</summary>
    void AddFile(string path)
    {
        if (!File.Exists(path)) return;
        try
        {
            JsonDocumentOptions lenient = new() { AllowTrailingCommas = true, CommentHandling = JsonCommentHandling.Skip, AllowDuplicateProperties = false };
            using JsonDocument file = JsonDocument.Parse(File.ReadAllText(path), lenient);
            if (file.RootElement.ValueKind != JsonValueKind.Object) throw Bad($"{path}: it must hold one JSON object");
            foreach (JsonProperty entry in file.RootElement.EnumerateObject())
            {
                IEnumerable<JsonElement> items = entry.Value.ValueKind == JsonValueKind.Array ? entry.Value.EnumerateArray() : [entry.Value];
                Set(entry.Name, [.. items.Select(v => v.ToString())], path);
            }
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            throw Bad($"{path}: {e.Message}");
        }
    }

    /// <summary>All but the model catalogue's own variable and the clients' key: LONGCTX_MAX_BODY_MIB is max-body-mib; several models are separated by ';'.</summary>
    void AddEnvironment(IReadOnlyDictionary<string, string> environment)
    {
        foreach ((string key, string value) in environment.Where(e => e.Key.StartsWith(EnvironmentPrefix, StringComparison.Ordinal) && e.Key is not (ModelCatalog.DirectoriesVariable or ServerOptions.ClientKeyVariable)))
        {
            string name = key[EnvironmentPrefix.Length..].ToLowerInvariant().Replace('_', '-');
            Set(name, name == "keys" ? [value] : value.Split(';', StringSplitOptions.RemoveEmptyEntries), key);
        }
    }

    /// <summary>--name value or --name=value; --model and --adapter may be repeated, --allow-remote needs no value.</summary>
    void AddArguments(IReadOnlyList<string> arguments)
    {
        HashSet<string> seen = [];
        for (int i = 0; i < arguments.Count; i++)
        {
            if (!arguments[i].StartsWith("--", StringComparison.Ordinal)) throw Bad($"'{arguments[i]}' is not an option; --help lists them");
            string[] parts = arguments[i][2..].Split('=', 2);
            string name = parts[0];
            string value;
            if (parts.Length == 2) value = parts[1];
            else if (name == "allow-remote") value = "true";
            else if (i + 1 < arguments.Count && !arguments[i + 1].StartsWith("--", StringComparison.Ordinal)) value = arguments[++i];
            else if (known.Contains(name)) throw Bad($"--{name} needs a value");
            else throw Bad($"--{name} is not an option; --help lists them");

            if (seen.Add(name)) Set(name, name == "urls" ? value.Split(';') : [value], $"--{name}");
            else if (name is "model" or "adapter") values[name] = [.. values[name], value];
            else throw Bad($"--{name} was given twice");
        }
    }

    void Set(string name, IReadOnlyList<string> value, string origin)
    {
        if (!known.Contains(name)) throw Bad($"{origin}: '{name}' is not an option; --help lists them");
        values[name] = value;
        origins[name] = origin;
    }

    public ServerOptions ToOptions()
    {
        ServerOptions defaults = new();
        ServerOptions options = new()
        {
            Urls = values.TryGetValue("urls", out IReadOnlyList<string>? urls) ? [.. urls.SelectMany(u => u.Split(';'))] : defaults.Urls,
            Models = values.GetValueOrDefault("model") ?? defaults.Models,
            Adapters = values.GetValueOrDefault("adapter") ?? defaults.Adapters,
            Policy = One("policy") ?? defaults.Policy,
            Capacity = Integer("capacity"),
            Threads = Integer("threads"),
            Data = One("data"),
            Durability = One("durability") is { } durability ? DurabilityOf(durability) : defaults.Durability,
            RetainEvents = Integer("retain-events") ?? defaults.RetainEvents,
            MaxReply = Integer("max-reply"),
            TrainingShare = Integer("training-share"),
            TrainingSlice = Integer("training-slice"),
            Keys = Keys() ?? defaults.Keys,
            AllowRemote = Flag("allow-remote") ?? defaults.AllowRemote,
            MaxBodyMebibytes = Integer("max-body-mib") ?? defaults.MaxBodyMebibytes,
            Otlp = One("otlp") is { } otlp ? new Uri(otlp, UriKind.RelativeOrAbsolute) : null,
            Log = One("log") is { } level ? Level(level) : defaults.Log,
        };
        options.Validate();
        return options;
    }

    /// <summary>Each value is one key, or a list of keys, as JSON.</summary>
    List<ApiKey>? Keys()
    {
        if (!values.TryGetValue("keys", out IReadOnlyList<string>? texts)) return null;
        try
        {
            List<ApiKey?> keys = [.. texts.SelectMany(text => text.TrimStart().StartsWith('[')
                ? JsonSerializer.Deserialize<List<ApiKey?>>(text, KeyJson)!
                : [JsonSerializer.Deserialize<ApiKey>(text, KeyJson)])];
            return keys.Contains(null) ? throw new JsonException("a key is null") : [.. keys.Select(k => k!)];
        }
        catch (JsonException e)
        {
            throw Bad($"{origins["keys"]}: keys must be [{{\"tenant\": \"alice\", \"sha256\": \"...\"}}]: {e.Message}");
        }
    }

    public string? One(string name)
    {
        if (!values.TryGetValue(name, out IReadOnlyList<string>? all)) return null;
        return all.Count == 1 ? all[0] : throw Bad($"{origins[name]}: one value is needed, not {all.Count}");
    }

    public int? Integer(string name) => One(name) is not { } text ? null
        : int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number) ? number
        : throw Bad($"{origins[name]}: '{text}' is not a whole number");

    bool? Flag(string name) => One(name) is not { } text ? null
        : bool.TryParse(text, out bool flag) ? flag
        : throw Bad($"{origins[name]}: '{text}' is neither true nor false");

    Durability DurabilityOf(string text) => text.All(char.IsAsciiLetter) && Enum.TryParse(text, ignoreCase: true, out Durability level) ? level
        : throw Bad($"{origins["durability"]}: '{text}' is none of relaxed, standard, strict");

    LogLevel Level(string text) => text.All(char.IsAsciiLetter) && Enum.TryParse(text, ignoreCase: true, out LogLevel level) ? level
        : throw Bad($"{origins["log"]}: '{text}' is none of trace, debug, information, warning, error, none");

    static LongCtxException Bad(string message) => new(ErrorCode.InvalidRequest, message);
}

using System.Text.Json;
using System.Text.Json.Serialization;

namespace LongCtx.Silo.Grains;

/// <summary>
/// A contract record between silos, as JSON: the records know nothing of Orleans, silos of two versions understand each other as far as a reader of the
/// journal does, and the bytes are shared, not copied.
/// </summary>
[GenerateSerializer, Immutable, Alias("longctx.wire")]
public readonly record struct Wire([property: Id(0)] ReadOnlyMemory<byte> Json)
{
    /// <exception cref="JsonException">It is none.</exception>
    public T Read<T>() => JsonSerializer.Deserialize<T>(Json.Span, WireJson.Options)!;
}

/// <summary>What a grain answers: refusals are values, so that no exception has to be understood on the other side.</summary>
/// <param name="Failure">Null when it went well.</param>
internal sealed record Outcome<T>(T? Value, Failure? Failure = null);

internal sealed record Failure(ErrorCode Code, string Message, string? Parameter, TimeSpan? RetryAfter)
{
    public static Failure Of(LongCtxException e) => new(e.Code, e.Message, e.Parameter, e.RetryAfter);

    public LongCtxException ToException() => new(Code, Message, Parameter) { RetryAfter = RetryAfter };
}

internal static class WireJson
{
    public static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };

    public static Wire ToWire<T>(this T value) => new(JsonSerializer.SerializeToUtf8Bytes(value, Options));

    /// <summary>Runs a request; a refusal becomes part of the answer.</summary>
    public static async ValueTask<Wire> AnswerAsync<T>(Func<Task<T>> run)
    {
        try
        {
            return new Outcome<T>(await run()).ToWire();
        }
        catch (LongCtxException e)
        {
            return new Outcome<T>(default, Failure.Of(e)).ToWire();
        }
    }

    /// <exception cref="LongCtxException">What the grain refused.</exception>
    public static T Unwrap<T>(this Wire answer)
    {
        var outcome = answer.Read<Outcome<T>>();
        return outcome.Failure is { } failure ? throw failure.ToException() : outcome.Value!;
    }
}

using System.Text;

namespace LongCtx.Api.Chat;

internal sealed record LogprobList(LogprobItem[] Content, LogprobItem[]? Refusal = null)
{
    public static LogprobList From(IEnumerable<TokenInfo> tokens) => new([.. tokens.Select(token => new LogprobItem(
        Encoding.UTF8.GetString(token.Bytes), Finite(token.Logprob ?? float.NegativeInfinity), Numbers(token.Bytes),
        [.. token.Top.Select(other => new LogprobTop(Encoding.UTF8.GetString(other.Bytes), Finite(other.Logprob), Numbers(other.Bytes)))]))]);

    // JSON has no infinity; -9999 is OpenAI's stand-in for it.
    static float Finite(float logprob) => MathF.Max(logprob, -9999);

    static int[] Numbers(byte[] bytes) => Array.ConvertAll(bytes, b => (int)b);
}

/// <summary>A token; `token` shows a part of a character as U+FFFD, `bytes` is exact.</summary>
internal sealed record LogprobItem(string Token, float Logprob, int[] Bytes, LogprobTop[] TopLogprobs);

internal sealed record LogprobTop(string Token, float Logprob, int[] Bytes);

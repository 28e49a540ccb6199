using LongCtx.Engine.Scheduling;
namespace LongCtx.Conversations.Local;
internal static class TempKv
{
    public static Task SaveAsync(this InferenceEngine e, Sequence s, string p, IReadOnlyDictionary<string, string> l) => throw new IOException(p + l.Count);
    public static Task<(Sequence, IReadOnlyDictionary<string, string>)> LoadSequenceAsync(this InferenceEngine e, DecoderModel s, string p) => throw new IOException(p);
}

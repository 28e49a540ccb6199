using LongCtx.Engine.Cache;

namespace LongCtx.Engine.States;

/// <summary>What keys and values depend on beside the tokens: only under the same of all of it do they mean anything.</summary>
/// <param name="Model">Its fingerprint.</param>
/// <param name="Adapter">Digest of the adapter version that the sequence goes on with; empty for none. What its blocks were computed under they say themselves.</param>
/// <param name="Vocabulary">Follows from the model.</param>
internal sealed record SequenceKind(string Model, KvLayout Layout, AttentionPolicy Policy, string Adapter, int Vocabulary)
{
    /// <summary>What differs, in words; null when nothing does.</summary>
    public string? Difference(SequenceKind wanted)
    {
        if (Model != wanted.Model) return $"it was computed by another model ({Short(Model)}; this one is {Short(wanted.Model)})";
        if (Layout != wanted.Layout) return $"its blocks are laid out as {Layout} and this engine's as {wanted.Layout}";
        return Policy != wanted.Policy ? $"its policy is {Policy} instead of {wanted.Policy}" : null;
    }

    public static string Short(string digest) => digest.Length <= 12 ? digest : digest[..12] + "...";
}

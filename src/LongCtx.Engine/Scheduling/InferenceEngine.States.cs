using LongCtx.Engine.Adapters;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Sampling;
using LongCtx.Engine.States;

namespace LongCtx.Engine.Scheduling;

/// <param name="Tokens">Of the sequence when it was saved.</param>
/// <param name="Bytes">Written.</param>
public readonly record struct SavedSequence(long Tokens, long Bytes);

/// <param name="Sequence">Pinned; goes on exactly as the saved one.</param>
/// <param name="Labels">As they were given.</param>
public sealed record LoadedSequence(Sequence Sequence, IReadOnlyDictionary<string, string> Labels);

/// <summary>
/// Sequences in files. Keys and values are copied between the steps of the engine, a few megabytes at a time, so that nobody waits for them;
/// the files are read and written on other threads.
/// </summary>
public sealed partial class InferenceEngine
{
    /// <summary>
    /// Writes a sequence as it is between two steps; it may go on meanwhile. The file is written beside <paramref name="path"/> (.tmp), brought to
    /// the disk and then renamed, so that there is never half a file of that name.
    /// </summary>
    /// <param name="sequence">One that is still held.</param>
    /// <param name="path">An existing file is replaced.</param>
    /// <param name="labels">Come back with the sequence.</param>
    /// <param name="cancellation">Leaves no file.</param>
    /// <exception cref="SequenceFileException">The file cannot be written.</exception>
    /// <exception cref="LongCtxException">The sequence is no longer held, or the engine is stopping.</exception>
    public async Task<SavedSequence> SaveAsync(
        Sequence sequence, string path, IReadOnlyDictionary<string, string> labels, CancellationToken cancellation = default)
    {
        string temporary = path + ".tmp";
        try
        {
            FileStream file = new(temporary, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, Share = FileShare.None, BufferSize = 0 });
            try
            {
                SavedSequence saved;
                await using (file.ConfigureAwait(false))
                {
                    saved = await SaveAsync(sequence, file, labels, cancellation).ConfigureAwait(false);
                    file.Flush(flushToDisk: true);
                }

                File.Move(temporary, path, overwrite: true);
                return saved;
            }
            catch
            {
                File.Delete(temporary);
                throw;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new SequenceFileException(path, "cannot be written: " + e.Message, e);
        }
    }

    /// <summary>The same into a stream, which stays open and is not flushed.</summary>
    public async Task<SavedSequence> SaveAsync(
        Sequence sequence, Stream to, IReadOnlyDictionary<string, string> labels, CancellationToken cancellation = default)
    {
        DecoderModel model = sequence.Model;
        ModelScheduler scheduler = SchedulerOf(model);
        SequenceSnapshot snapshot = await WaitAsync<SequenceSnapshot>(taken => scheduler.Snapshot(sequence, taken), cancellation).ConfigureAwait(false);
        try
        {
            var header = new SequenceHeader
            {
                Kind = KindOf(model, sequence.Policy, snapshot.Cache.Adapter),
                Cache = snapshot.Cache.State,
                Pending = snapshot.Pending,
                Recent = snapshot.Recent,
                Biased = snapshot.Biased,
                Labels = labels,
            };
            long bytes = await SequenceWriter.WriteAsync(this, model.Runner, snapshot.Cache, header, to, cancellation).ConfigureAwait(false);
            return new(header.TokenCount, bytes);
        }
        finally
        {
            Post(() => scheduler.EndTransfer(snapshot.Cache, keep: false));
        }
    }

    /// <summary>
    /// Reads a sequence that <see cref="SaveAsync(Sequence, string, IReadOnlyDictionary{string, string}, CancellationToken)"/> wrote. Waits until its blocks are free, for which idle
    /// sequences are given up. A file that was written for another model, policy or adapter, or that is damaged, is refused as a whole.
    /// </summary>
    /// <param name="model">The one that it was computed by.</param>
    /// <param name="path">The file.</param>
    /// <param name="policy">The one that it was computed under.</param>
    /// <param name="adapter">The version that it was saved with, and goes on with; null for the base. Its blocks may have been computed under others.</param>
    /// <param name="cancellation">Gives everything back.</param>
    /// <exception cref="SequenceFileException">It cannot be read, is foreign or damaged: compute the sequence from its tokens.</exception>
    /// <exception cref="LongCtxException">There are too few KV blocks, or the engine is stopping.</exception>
    public Task<LoadedSequence> LoadSequenceAsync(
        DecoderModel model, string path, AttentionPolicy policy, LoraWeights? adapter, CancellationToken cancellation = default) =>
        LoadSequenceAsync(model, path, policy, digest =>
        {
            string wanted = adapter?.Digest ?? "";
            return digest == wanted ? adapter : throw new SequenceFileException(path, $"is foreign: its adapter is '{SequenceKind.Short(digest)}' instead of '{SequenceKind.Short(wanted)}'");
        }, cancellation);

    /// <summary>The same; <paramref name="adapters"/> gives the version of a digest (empty for the base), or throws a <see cref="SequenceFileException"/>.</summary>
    public async Task<LoadedSequence> LoadSequenceAsync(
        DecoderModel model, string path, AttentionPolicy policy, Func<string, LoraWeights?> adapters, CancellationToken cancellation = default)
    {
        RequireHonourable(model, policy);
        ModelScheduler scheduler = SchedulerOf(model);
        using SequenceReader file = SequenceReader.Open(path, KindOf(model, policy, null));
        SequenceHeader header = file.Header;
        LoraWeights? adapter = adapters(header.Kind.Adapter);
        RequireFitting(model, adapter);
        KvSequence cache = await WaitAsync<KvSequence>(taken => scheduler.Reserve(header.Cache, adapter, taken), cancellation).ConfigureAwait(false);
        bool keep = false;
        try
        {
            await file.FillAsync(this, model.Runner, cache, cancellation).ConfigureAwait(false);
            var sequence = new Sequence(this, model, policy, cache, new PenaltyWindow(header.Recent, header.TokenCount)) { Pending = header.Pending };
            sequence.UpdateState();
            keep = true;
            return new(sequence, header.Labels);
        }
        finally
        {
            Post(() => scheduler.EndTransfer(cache, keep));
        }
    }

    static SequenceKind KindOf(DecoderModel model, AttentionPolicy policy, LoraWeights? adapter) =>
        new(model.Fingerprint, model.Runner.Layout, policy, adapter?.Digest ?? "", model.Config.VocabularySize);

    /// <summary>Work on the engine thread that takes about a millisecond; at most one such piece comes between two steps.</summary>
    internal Task<T> BetweenSteps<T>(Func<T> work) => OnEngine(work, _slices);

    /// <summary>What <paramref name="begin"/> hands out, on the engine thread, at once or when there is room.</summary>
    async Task<T> WaitAsync<T>(Func<CancellationToken, Task<T>> begin, CancellationToken cancellation)
    {
        await using (cancellation.Register(Wake).ConfigureAwait(false))
            return await (await OnEngine(() => begin(cancellation), _commands).ConfigureAwait(false)).ConfigureAwait(false);
    }
}

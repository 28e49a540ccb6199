using LongCtx.Engine.Cache;
using LongCtx.Engine.Models;
using LongCtx.Engine.Training;

namespace LongCtx.Cli.Evaluation;

/// <summary>
/// What temporary adapters cost, in floating point operations for each token that is generated or scored (two for a product and its sum). Sources: With Greater Text
/// Comes Greater Necessity (COLM 2024), counted anew.
/// </summary>
/// <param name="Weights">P: parameters that a token is multiplied with, those of the output projection included.</param>
/// <param name="LowRank">P_l: parameters of the adapter.</param>
/// <param name="Layers">n</param>
/// <param name="Width">h: query heads × head dimension.</param>
internal sealed record TempLoraCost(double Weights, double LowRank, int Layers, int Width)
{
    /// <param name="config">Of the model.</param>
    /// <param name="rank">Of adapters on all seven projections; 0 leaves them out.</param>
    public static TempLoraCost Of(DecoderConfig config, int rank)
    {
        (double weights, double lowRank) = (0, 0);
        foreach ((int rows, int columns) in (ReadOnlySpan<(int, int)>)
        [
            (config.QuerySize, config.HiddenSize), (config.KeyValueSize, config.HiddenSize), (config.KeyValueSize, config.HiddenSize), (config.HiddenSize, config.QuerySize),
            (config.FeedForwardSize, config.HiddenSize), (config.FeedForwardSize, config.HiddenSize), (config.HiddenSize, config.FeedForwardSize),
        ])
        {
            weights += (double)rows * columns;
            lowRank += (double)rank * (rows + columns);
        }

        return new(weights * config.LayerCount + (double)config.VocabularySize * config.HiddenSize, lowRank * config.LayerCount, config.LayerCount, config.QuerySize);
    }

    /// <summary>Forward of tokens <paramref name="from"/> to <paramref name="to"/>, each seeing all before it.</summary>
    public double Forward(double from, double to) => 2 * (Weights + LowRank) * (to - from) + 2.0 * Layers * Width * (to * to - from * from);

    /// <summary>A token when keys are computed anew for every chunk: a window of <paramref name="window"/> for <paramref name="chunk"/> tokens.</summary>
    public double Recomputing(double window, double chunk) => Forward(0, window) / chunk;

    /// <summary>A token when keys are kept until the window is full, and then computed anew for the last <paramref name="kept"/> tokens.</summary>
    public double Reusing(double window, double kept) => Forward(0, window) / (window - kept);

    /// <summary>
    /// Training of a chunk behind a prefix, for each token of the chunk: forward, gradients through frozen weights (which have none of their own) and those of A and B.
    /// </summary>
    public double Training(double chunk, double prefix, int epochs)
    {
        double n = prefix + chunk;
        return epochs * (Forward(0, n) + 2 * Weights * n + 4 * LowRank * n + 4.0 * Layers * Width * n * n) / chunk;
    }

    /// <summary>
    /// What the engine does of it for an update, without a cache and without held-out tokens, for adapters on all seven projections: logits of the labels only, the
    /// last layer only from the first label's block of rows on, and no gradient below the first layer's projections. Attention counts the keys that are seen.
    /// </summary>
    public static TrainingFlops OfUpdate(DecoderConfig config, int rank, int chunk, int prefix, int epochs)
    {
        long n = prefix + chunk, firstLabel = Math.Max(1, prefix), labels = n - firstLabel, layers = config.LayerCount;
        long skipped = (firstLabel - 1) / BlockPool.BlockSize * BlockPool.BlockSize, allRows = n * layers, rows = allRows - skipped;
        long hidden = config.HiddenSize, query = config.QuerySize, keyValue = config.KeyValueSize, feedForward = config.FeedForwardSize;
        long queryKeyValue = hidden * (query + 2 * keyValue), rest = hidden * (query + 3 * feedForward), head = labels * hidden * config.VocabularySize;
        long seen = query * (layers * n * (n + 1) - skipped * (skipped + 1)) / 2; // products of queries and keys, as many again with values
        long forward = allRows * queryKeyValue + rows * rest + head + 2 * seen, backward = (allRows - n) * queryKeyValue + rows * rest + head + 4 * seen;
        // Query, key and value; output; gate and up; down. Each forward, for the gradients of A and B, and for that of its input.
        long lowRank = 3 * (allRows * (3 * hidden + query + 2 * keyValue) + rows * (hidden + query + 3 * (hidden + feedForward))) - n * 3 * hidden;
        return new(2 * epochs * forward, 2 * epochs * backward, 2L * epochs * rank * lowRank);
    }

    /// <summary>The same as if frozen weights had gradients of their own: 6 P instead of 4 P.</summary>
    public double TrainingWithAllGradients(double chunk, double prefix, int epochs) => Training(chunk, prefix, epochs) + epochs * 2 * Weights * (prefix + chunk) / chunk;
}

namespace LongCtx.Engine.Files;

/// <summary>Checks that both file formats share.</summary>
internal static class TensorLayout
{
    /// <summary>False where the number of bytes overflows.</summary>
    public static bool TryByteLength(TensorType type, ReadOnlySpan<long> shape, out long bytes)
    {
        bytes = 0;
        long elements = 1;
        foreach (long size in shape)
        {
            if (size != 0 && elements > long.MaxValue / size) return false;
            elements *= size;
        }

        long blocks = elements / type.BlockSize();
        if (blocks > long.MaxValue / type.BlockBytes()) return false;
        bytes = blocks * type.BlockBytes();
        return true;
    }

    /// <summary>Two tensors of one file that share a byte, the later one second.</summary>
    public static (TensorInfo First, TensorInfo Second)? FindOverlap(IEnumerable<TensorInfo> tensors)
    {
        TensorInfo? last = null;
        foreach (TensorInfo tensor in tensors.Where(t => t.ByteLength > 0).OrderBy(t => t.Offset))
        {
            if (last is not null && tensor.Offset < last.Offset + last.ByteLength) return (last, tensor);
            last = tensor;
        }

        return null;
    }
}
